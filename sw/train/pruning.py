"""Magnitude pruning, layer by layer, with a sparsity that rises as final * (1 - (1 - t)**3) and then stays."""

from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.networks.layers import Depthwise, MaskedLayer
from sw.networks.network import Network
from sw.networks.unfused import UnfusedBlock
from sw.spec import SparsitySpec, UnfusedSpec
from sw.train.stage import FallingLimits, Stage


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


def sparsity_of(layer: MaskedLayer) -> float:
    """Fraction of zeros in a layer's weight as it is used."""
    return float(np.mean(ops.convert_to_numpy(layer.masked()) == 0))
