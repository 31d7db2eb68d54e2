"""Magnitude pruning, layer by layer, with a sparsity that rises as final * (1 - (1 - t)**3) and then stays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.networks.layers import Depthwise, MaskedLayer
from sw.networks.network import Network
from sw.networks.unfused import UnfusedBlock
from sw.spec import SparsitySpec, UnfusedSpec
from sw.train.stage import FallingLimits, Stage

FLOAT_ERROR = 1e-6
"""Of a sparsity."""


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


def balanced_mask(weight: NDArray[np.float32], sparsity: float, groups: int) -> NDArray[np.float32]:
    """Mask of 0 and 1 of a grouped pointwise layer's weight (E, C/G) that keeps as many weights of each input channel.

    In every group, the smallest round(sparsity * E/G) magnitudes of each of its C/G input channels become 0.
    """
    columns = np.abs(weight).reshape(groups, -1, weight.shape[1])
    ranks = columns.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return (ranks >= round(sparsity * columns.shape[1])).astype(np.float32).reshape(weight.shape)


@dataclass(frozen=True)
class Pruned:
    """A layer to prune.

    Attributes:
        layer: with a mask.
        final: its sparsity in the end.
        groups: of a layer pruned evenly over its input channels; None: where the magnitudes are smallest.
    """

    layer: MaskedLayer
    final: float
    groups: int | None = None

    def prune(self, progress: float) -> None:
        """Set the mask for `progress` of the ramp."""
        weight, sparsity = ops.convert_to_numpy(self.layer.weight), rising_sparsity(self.final, progress)
        if self.groups is None:
            self.layer.mask.assign(magnitude_mask(weight, sparsity))
        else:
            self.layer.mask.assign(balanced_mask(weight, sparsity, self.groups))

    def check(self) -> None:
        """Raise ArchonError where fewer weights are masked than in the end."""
        share = 1 - float(np.mean(ops.convert_to_numpy(self.layer.mask)))
        # Zeros are counted in whole weights; of a group's every input channel where pruning was even.
        rounding = 0.5 * getattr(self.layer, "groups", 1) / self.layer.weight.shape[0]
        if share < self.final - rounding - FLOAT_ERROR:
            raise ArchonError(
                f"{self.layer.label}: expected a sparsity of {self.final} at the end of stage pruned, got {share:.3f}: "
                "train for more steps, or start from a network that is not pruned"
            )


def prunable_layers(model: Network, sparsity: SparsitySpec) -> list[Pruned]:
    """Layers to prune; the stem, the first pointwise and depthwise layers and squeeze-and-excite stay dense."""
    found = [] if model.last_pointwise is None else [Pruned(model.last_pointwise, sparsity.pointwise)]
    for block in model.blocks:
        if isinstance(block.spec, UnfusedSpec) and block.spec.stays_dense:
            continue
        for layer in block.value_layers():
            if isinstance(layer, Depthwise):
                found.append(Pruned(layer, sparsity.depthwise))
            else:
                even = sparsity.balanced and layer is block.expand and not isinstance(block, UnfusedBlock)
                found.append(Pruned(layer, sparsity.pointwise, block.spec.groups if even else None))
    return found


class PruningStage(Stage):
    """Trains while the sparsity rises, then with the masks frozen.

    Args:
        model: the network.
        sparsity: final fractions of zeros.
        ramp: fraction of all steps in which the sparsity rises; 0: the masks stay as they come.
        limits: on the survivors of its ReLUs; None: as they come.
    """

    def __init__(self, model: Network, sparsity: SparsitySpec, ramp: float, limits: FallingLimits | None = None) -> None:
        super().__init__(model, limits)
        self.layers = prunable_layers(model, sparsity)
        self.ramp = ramp

    def start_from(self, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Take over the network; its masks, too, which must be final where they are to stay.

        Raises:
            ArchonError: they are not, or the checkpoint does not fit.
        """
        super().start_from(arrays, path)
        if not self.ramp:
            self.check_trained()

    def before_step(self, step: int, steps: int) -> None:
        """Recompute the masks while the sparsity rises."""
        super().before_step(step, steps)
        if not self.ramp:
            return
        length = max(1, round(self.ramp * steps))
        if step > length:
            return
        for pruned in self.layers:
            pruned.prune(step / length)

    def check_trained(self) -> None:
        """Raise ArchonError where a layer is less sparse than it was to be."""
        for pruned in self.layers:
            pruned.check()


def sparsity_of(layer: MaskedLayer) -> float:
    """Fraction of zeros in a layer's weight as it is used."""
    return float(np.mean(ops.convert_to_numpy(layer.masked()) == 0))
