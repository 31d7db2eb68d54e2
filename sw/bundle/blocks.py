"""Integer blocks that are more than one layer: unfused bottlenecks, and fused pairs of pointwise layers with a depthwise one.

Symbols as in docs/numerics.md. Rows are group-major, as in sw.bundle.parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.taps import SMALL_KERNEL
from sw.bundle.parts import DenseLayer, Excitation, FusedBlock, Requantization, expect_array, expect_range
from sw.spec import BlockSpec, PointwisePairSpec, UnfusedSpec


@dataclass(frozen=True)
class UnfusedBlock:
    """A bottleneck block whose layers run one after the other (sw.spec.UnfusedSpec)."""

    expand: DenseLayer | None
    """weight (E, C/G); none where the block has no expand layer."""
    depthwise: DenseLayer
    """weight (E, k, k)."""
    project: DenseLayer
    """weight (K, E/G), K without the shortcut's channels."""
    shortcut: Requantization | None
    """(C,): of the sums under the average pool's windows, where the block has such a shortcut."""
    excitation: Excitation | None = None
    """On the depthwise layer's E outputs, where the block has squeeze-and-excite."""

    def check(self, name: str, spec: UnfusedSpec) -> None:
        """Raise ArchonError, naming the array, unless every array fits the block's specification."""
        groups, expanded = spec.groups, spec.expanded_channels
        if self.expand is not None:
            self.expand.check(f"{name}.expand", (expanded, spec.in_channels // groups))
        self.depthwise.check(f"{name}.depthwise", (expanded, spec.kernel, spec.kernel))
        self.project.check(f"{name}.project", (spec.own_channels, expanded // groups))
        if self.shortcut is not None:
            self.shortcut.check(f"{name}.shortcut", spec.in_channels)
        if self.excitation is not None:
            self.excitation.check(name, expanded, spec.squeezed_channels or 0)


@dataclass(frozen=True)
class ExcitedBlock:
    """A fused block with squeeze-and-excite behind its projection (sw.spec.BlockSpec)."""

    fused: FusedBlock
    excitation: Excitation
    """On the block's K outputs, before the residual."""

    def check(self, name: str, spec: BlockSpec) -> None:
        """Raise ArchonError, naming the array, unless every array fits the block's specification."""
        self.fused.check(f"{name}.fused", spec.fused_part)
        self.excitation.check(name, spec.out_channels, spec.squeezed_channels or 0)


@dataclass(frozen=True)
class PointwisePair:
    """Two pointwise layers, fused; the ReLU between them is predicted, the one behind them is exact."""

    expand_weight: NDArray[np.int8]
    """W1 (E, C/G)."""
    expand_bias: NDArray[np.int32]
    """b1 (E,), in units of W1 * x."""
    project_weight: NDArray[np.int32]
    """W2 (K, E/G), over the expanded channels behind the shuffle."""
    requantization: Requantization
    """(K,), bias b3 in units of W2 * W1 * x."""
    predictor_expand_weight: NDArray[np.int8]
    """T1 (E, C/G), -1, 0 or 1."""
    predictor_expand_threshold: NDArray[np.int32]
    """(E,): the ReLU survives where sum T1 * x4 > threshold."""

    def check(self, name: str, spec: PointwisePairSpec) -> None:
        """Raise ArchonError, naming the array, unless every array fits the block's specification."""
        expanded, inputs = spec.expanded_channels, spec.in_channels // spec.groups
        expect_array(f"{name}.expand_weight", self.expand_weight, np.int8, (expanded, inputs))
        expect_array(f"{name}.expand_bias", self.expand_bias, np.int32, (expanded,))
        expect_array(f"{name}.project_weight", self.project_weight, np.int32, (spec.own_channels, expanded // spec.groups))
        expect_array(f"{name}.predictor_expand_weight", self.predictor_expand_weight, np.int8, (expanded, inputs))
        expect_array(f"{name}.predictor_expand_threshold", self.predictor_expand_threshold, np.int32, (expanded,))
        expect_range(f"{name}.predictor_expand_weight", self.predictor_expand_weight, -1, 1)
        self.requantization.check(name, spec.own_channels)


@dataclass(frozen=True)
class PointwisePairBlock:
    """A fused pair of pointwise layers, then a depthwise layer on its outputs (sw.spec.PointwisePairSpec)."""

    pair: PointwisePair
    depthwise: DenseLayer
    """weight (K, k, k), K without the shortcut's channels."""
    shortcut: Requantization | None
    """(C,): of the sums under the average pool's windows, where the block has such a shortcut."""

    def check(self, name: str, spec: PointwisePairSpec) -> None:
        """Raise ArchonError, naming the array, unless every array fits the block's specification."""
        self.pair.check(name, spec)
        self.depthwise.check(f"{name}.depthwise", (spec.own_channels, spec.kernel, spec.kernel))
        if self.shortcut is not None:
            self.shortcut.check(f"{name}.shortcut", spec.in_channels)


def behind_shuffle(channels: int, groups: int) -> NDArray[np.int64]:
    """(channels,): which channel, group-major, stands at each place behind a shuffle."""
    places = np.arange(channels)
    return places % groups * (channels // groups) + places // groups


def pair_order(spec: PointwisePairSpec) -> NDArray[np.int64]:
    """(E,): which expanded channel each row of `pair_as_block` is, so that each group owns what its outputs read."""
    return behind_shuffle(spec.expanded_channels, spec.groups) if spec.inner_shuffle else np.arange(spec.expanded_channels)


def pair_columns(spec: PointwisePairSpec) -> NDArray[np.int64]:
    """(E, C/G): the input channels, of those that its group reads, of each row of `pair_as_block`."""
    inputs, expanded = spec.in_channels // spec.groups, spec.expanded_channels // spec.groups
    first = pair_order(spec) // expanded * inputs if spec.inner_shuffle else np.zeros(spec.expanded_channels, dtype=np.int64)
    return first[:, None] + np.arange(inputs)


def pair_rows(spec: PointwisePairSpec, weight: NDArray[Any]) -> NDArray[Any]:
    """W1 or T1 (E, C/G) of a pair as that of `pair_as_block`: (E, C) behind a shuffle."""
    rows = np.zeros((len(weight), weight.shape[1] * pair_inputs(spec)), dtype=weight.dtype)
    np.put_along_axis(rows, pair_columns(spec), weight[pair_order(spec)], axis=1)
    return rows


def pair_inputs(spec: PointwisePairSpec) -> int:
    """How often the input of `pair_as_block` repeats that of the pair: once for each group where there is a shuffle."""
    return spec.groups if spec.inner_shuffle else 1


def pair_as_block(pair: PointwisePair, spec: PointwisePairSpec) -> tuple[FusedBlock, BlockSpec]:
    """A pair of pointwise layers as the fused block that computes the same integers, and that block's shape.

    The window is its centre tap with the weight 1, and a channel survives the second mask where it survives the first one.
    Each group owns the expanded channels that its outputs read. Behind a shuffle these come from all groups of the input, so
    that every group reads all input channels: the block's input is the pair's, repeated for each group (`pair_inputs`).
    """
    expanded, order = spec.expanded_channels, pair_order(spec)
    centre = np.zeros((expanded, SMALL_KERNEL, SMALL_KERNEL), dtype=np.int8)
    centre[:, SMALL_KERNEL // 2, SMALL_KERNEL // 2] = 1
    nothing = np.zeros(expanded, dtype=np.int32)
    block = FusedBlock(
        expand_weight=pair_rows(spec, pair.expand_weight),
        expand_bias=pair.expand_bias[order],
        depthwise_weight=centre,
        depthwise_bias=nothing,
        project_weight=pair.project_weight,
        requantization=pair.requantization,
        predictor_expand_weight=pair_rows(spec, pair.predictor_expand_weight),
        predictor_expand_threshold=pair.predictor_expand_threshold[order],
        predictor_level_shift=nothing.astype(np.int8),
        predictor_depthwise_weight=centre,
        predictor_depthwise_threshold=nothing,
    )
    shape = BlockSpec(
        in_channels=pair_inputs(spec) * spec.in_channels, expanded_channels=expanded, out_channels=spec.own_channels,
        kernel=SMALL_KERNEL, stride=1, groups=spec.groups, residual=False, shuffle=False,
    )  # fmt: skip
    return block, shape
