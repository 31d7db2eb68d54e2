"""What a training stage may add to plain training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.datasets import normalise
from sw.networks.network import Network
from sw.train import checkpoint
from sw.train.devices import predict
from sw.train.export import Arrays, export_weights


class Stage:
    """Plain training; the other stages override what differs.

    Args:
        model: the network to train.
    """

    def __init__(self, model: Network) -> None:
        self.model = model

    def variables(self) -> dict[str, Any]:
        """Everything a checkpoint holds."""
        return self.model.named_variables()

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the stage before, read from its checkpoint at `path`."""
        checkpoint.assign(self.variables(), arrays, path)

    def before_step(self, step: int, steps: int) -> None:
        """Act before step `step` of `steps`."""

    def after_epoch(self) -> None:
        """Act after the last step of an epoch, before evaluation."""

    def inference(self) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
        """What is evaluated: images [N, H, W, 3] to logits [N, classes]."""
        return lambda images: predict(self.model, normalise(images))

    def weights(self) -> Arrays:
        """What the finished stage leaves for the exporter."""
        return export_weights(self.model)

    def after_step(self) -> None:
        """Act after an update."""
