"""What is measured of a network after every epoch, beside loss and accuracy."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.datasets import normalise
from sw.networks.network import Network
from sw.run_folder import SPARSITY, SURVIVORS
from sw.train.pruning import prunable_layers

MEASURED_IMAGES = 64
"""Training images, not augmented, whose survivors are counted."""


def measures(model: Network, images: NDArray[np.uint8]) -> dict[str, float]:
    """Columns of the log.

    Args:
        model: the network, in inference mode.
        images: [N, H, W, 3], of which the first 64 are looked at.

    Returns:
        Share of zeros among the weights of all layers that are pruned, and, of networks with fused blocks or pairs, shares of
        activations that survive the first and the second ReLU, each the mean over the blocks that have it: by their sign
        while there are no predictors, then by what these say.
    """
    zeros = [ops.convert_to_numpy(pruned.layer.masked()).ravel() == 0 for pruned in prunable_layers(model, model.spec.sparsity)]
    found = {SPARSITY: float(np.mean(np.concatenate(zeros)))}
    shares = survivor_shares(model, images[:MEASURED_IMAGES])
    for name, of_blocks in zip(SURVIVORS, zip(*shares, strict=True), strict=False):
        present = [share for share in of_blocks if share is not None]
        if present:
            found[name] = float(np.mean(present))
    return found


def survivor_shares(model: Network, images: NDArray[np.uint8]) -> list[tuple[float | None, float | None]]:
    """Shares that survive the first and the second ReLU of every block that predicts; None of a ReLU that is not predicted."""
    x, found = model.front(normalise(images)), []
    for block in model.blocks:
        masks = block.survivors(x)
        if masks is not None:
            found.append((_share(masks[0]), _share(masks[1])))
        x = block(x)
    return found


def _share(mask: Any) -> float | None:
    return None if mask is None else float(np.mean(ops.convert_to_numpy(mask)))
