"""The predictor: which ReLUs of a block survive (docs/numerics.md, rules "Predictor").

Arrays have the images last: (channels, height, width, images). All sums are integers of a few hundred at most, which
float32 holds exactly; it is the fastest type that matrices are multiplied in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from sw.bundle.network import FusedBlock
from sw.golden.taps import depthwise_sums, unpadded
from sw.spec import BlockSpec

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Masks of one group's expanded channels."""

    levels: Levels
    """r1 (E/G, H + k - 1, W + k - 1, N), 0..15, zero around the image; the first ReLU survives where it is not zero."""
    survives: NDArray[np.bool_]
    """m2 (E/G, output height, output width, N)."""
    kernel: int
    """Kernel size k."""

    @property
    def first(self) -> NDArray[np.bool_]:
        """m1 (E/G, H, W, N), inside the image."""
        return unpadded(self.levels, self.kernel) != 0


def predict_group(block: FusedBlock, spec: BlockSpec, group: int, x: NDArray[np.int8]) -> Prediction:
    """Masks of one group.

    Args:
        block: integer weights.
        spec: of the block.
        group: 0..groups-1.
        x: int8 (C, H, W, N), all channels of the block's input.
    """
    inputs, expanded = spec.in_channels // spec.groups, spec.expanded_channels // spec.groups
    rows = slice(group * expanded, (group + 1) * expanded)
    _, height, width, images = x.shape
    x4 = _predictor_inputs()[x[group * inputs : (group + 1) * inputs].view(np.uint8)]
    sums = block.predictor_expand_weight[rows].astype(np.float32) @ x4.reshape(inputs, -1)
    first = excess_levels(sums, block.predictor_expand_threshold[rows], block.predictor_level_shift[rows])
    levels: Levels = np.zeros((expanded, height + spec.kernel - 1, width + spec.kernel - 1, images), dtype=np.float32)
    unpadded(levels, spec.kernel)[:] = first.reshape(expanded, height, width, images)
    second = depthwise_sums(levels, block.predictor_depthwise_weight[rows], spec.stride)
    threshold = block.predictor_depthwise_threshold[rows].astype(np.float32)
    return Prediction(levels, second > threshold[:, None, None, None], spec.kernel)


def excess_levels(sums: Levels, threshold: NDArray[np.integer], shift: NDArray[np.integer]) -> Levels:
    """`numerics.predictor_level(sums - threshold, shift)` in float32, in place of `sums` (E, pixels).

    Dividing by a power of two is exact, so is the ceiling; an excess of zero or less gives zero by clipping.
    """
    np.subtract(sums, threshold.astype(np.float32)[:, None], out=sums)
    np.multiply(sums, np.exp2(-shift.astype(np.float32))[:, None], out=sums)
    np.ceil(sums, out=sums)
    return np.clip(sums, 0, numerics.LEVEL_MAX, out=sums)


def _predictor_inputs() -> Levels:
    """x4 of every activation, indexed by its byte (256,)."""
    return numerics.predictor_input(np.arange(256, dtype=np.uint8).view(np.int8)).astype(np.float32)
