"""What a training stage may add to plain training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.datasets import normalise
from sw.networks.limits import Survivors
from sw.networks.network import Network
from sw.networks.unfused import UnfusedBlock
from sw.train import checkpoint
from sw.train.devices import predict
from sw.train.export import Arrays, export_weights
from sw.train.recipe import UNLIMITED


@dataclass(frozen=True)
class FallingLimits:
    """Limits on survivors, of every block that is fused.

    Attributes:
        survivors: limits of the blocks, in order.
        ramp: fraction of all steps in which they fall to these values from those of UNLIMITED.
    """

    survivors: Sequence[Survivors]
    ramp: float

    def set(self, model: Network, progress: float) -> None:
        """Set the limits for `progress` of the ramp: of the predictors where there are some, else of the blocks' own signs."""
        blocks = [block for block in model.blocks if not isinstance(block, UnfusedBlock)]
        for block, survivors in zip(blocks, self.survivors, strict=True):
            (block if block.predictor is None else block.predictor).limit_to(survivors, UNLIMITED, progress)

    def before_step(self, model: Network, step: int, steps: int) -> None:
        """Set them before step `step` of `steps`, while they fall."""
        length = round(self.ramp * steps)
        if step <= length:
            self.set(model, step / length if length else 1.0)


class Stage:
    """Plain training; the other stages override what differs.

    Args:
        model: the network to train.
        limits: on the survivors of its ReLUs; None: as they come.
    """

    def __init__(self, model: Network, limits: FallingLimits | None = None) -> None:
        self.model = model
        self.limits = limits
        if limits is not None:
            limits.set(model, 1.0)

    def variables(self) -> dict[str, Any]:
        """Everything a checkpoint holds."""
        return self.model.named_variables()

    def makes(self, name: str) -> bool:  # noqa: ARG002 (later stages make some)
        """Whether the stage makes a variable itself, so that a checkpoint to start from may lack it."""
        return False

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the stage before, read from its checkpoint at `path`.

        Raises:
            ArchonError: it lacks what the stage does not make, or does not fit.
        """
        checkpoint.assign(self.variables(), arrays, path, self.makes)

    def before_step(self, step: int, steps: int) -> None:
        """Act before step `step` of `steps`: lower the limits on survivors while they fall."""
        if self.limits is not None:
            self.limits.before_step(self.model, step, steps)

    def after_epoch(self) -> None:
        """Act after the last step of an epoch, before evaluation."""

    def check_trained(self) -> None:
        """Raise ArchonError where, after the last step, the network is not what the stage is to leave."""

    def inference(self) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
        """What is evaluated: images [N, H, W, 3] to logits [N, classes]."""
        return lambda images: predict(self.model, normalise(images))

    def weights(self) -> Arrays:
        """What the finished stage leaves for the exporter."""
        return export_weights(self.model)

    def after_step(self) -> None:
        """Act after an update."""
