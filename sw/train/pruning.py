"""Magnitude pruning, layer by layer, with a sparsity that rises as final * (1 - (1 - t)**3) and then stays."""

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.networks.fusion_network import FusionNetwork
from sw.networks.layers import MaskedLayer
from sw.spec import SparsitySpec
from sw.train.stage import Stage


def rising_sparsity(final: float, progress: float) -> float:
    """Sparsity at `progress` of the ramp, 0 to 1 and beyond."""
    return final * (1 - (1 - min(1.0, progress)) ** 3)


def magnitude_mask(weight: NDArray[np.float32], sparsity: float) -> NDArray[np.float32]:
    """Mask of 0 and 1 that keeps the largest magnitudes; round(sparsity * size) entries become 0."""
    zeros = round(sparsity * weight.size)
    mask = np.ones(weight.size, np.float32)
    if zeros:
        mask[np.argpartition(np.abs(weight).ravel(), zeros - 1)[:zeros]] = 0
    return mask.reshape(weight.shape)


def prunable_layers(model: FusionNetwork, sparsity: SparsitySpec) -> list[tuple[MaskedLayer, float]]:
    """Layers to prune with their final sparsity; the stem and the first two layers stay dense."""
    layers: list[MaskedLayer] = [layer for block in model.blocks for layer in (block.expand, block.project)]
    pointwise = [(layer, sparsity.pointwise) for layer in [*layers, model.last_pointwise]]
    return [*pointwise, *((block.depthwise, sparsity.depthwise) for block in model.blocks)]


class PruningStage(Stage):
    """Trains while the sparsity rises, then with the masks frozen.

    Args:
        model: the network.
        sparsity: final fractions of zeros.
        ramp: fraction of all steps in which the sparsity rises.
    """

    def __init__(self, model: FusionNetwork, sparsity: SparsitySpec, ramp: float) -> None:
        super().__init__(model)
        self.layers = prunable_layers(model, sparsity)
        self.ramp = ramp

    def before_step(self, step: int, steps: int) -> None:
        """Recompute the masks while the sparsity rises."""
        length = max(1, round(self.ramp * steps))
        if step > length:
            return
        for layer, final in self.layers:
            layer.mask.assign(magnitude_mask(ops.convert_to_numpy(layer.weight), rising_sparsity(final, step / length)))


def sparsity_of(layer: MaskedLayer) -> float:
    """Fraction of zeros in a layer's weight as it is used."""
    return float(np.mean(ops.convert_to_numpy(layer.masked()) == 0))
