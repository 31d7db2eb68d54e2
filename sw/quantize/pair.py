"""Integers of a pair of pointwise layers: those of the fused block that computes the same (sw.bundle.blocks.pair_as_block)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.taps import SMALL_KERNEL
from sw.bundle.blocks import PointwisePair, pair_columns, pair_order, pair_rows
from sw.quantize.dense import requantization
from sw.quantize.precision import Precision
from sw.quantize.predictor import ConstantChannels, QuantizedPredictor, constant_channels
from sw.quantize.value_path import Floats, Integers, QuantizedValuePath, ValuePath, quantize_value_path
from sw.spec import PointwisePairSpec


@dataclass(frozen=True)
class PairPath:
    """Float weights of a pair with BatchNorm folded in."""

    expand_weight: Floats
    """W1 (E, C/G)."""
    expand_bias: Floats
    """b1 (E,)."""
    project_weight: Floats
    """W2 (K, E/G), over the expanded channels behind the shuffle."""
    project_bias: Floats
    """b3 (K,)."""

    def as_block(self, spec: PointwisePairSpec) -> ValuePath:
        """The value path of the fused block that the pair is."""
        return ValuePath(
            expand_weight=pair_rows(spec, self.expand_weight),
            expand_bias=self.expand_bias[pair_order(spec)],
            depthwise_weight=centre(spec).astype(np.float64),
            depthwise_bias=np.zeros(spec.expanded_channels),
            project_weight=self.project_weight,
            project_bias=self.project_bias,
        )


def centre(spec: PointwisePairSpec) -> Integers:
    """(E, 3, 3): a window that is its centre tap."""
    window = np.zeros((spec.expanded_channels, SMALL_KERNEL, SMALL_KERNEL), dtype=np.int64)
    window[:, SMALL_KERNEL // 2, SMALL_KERNEL // 2] = 1
    return window


def quantize_pair_path(
    spec: PointwisePairSpec, path: PairPath, input_scale: float, precision: Precision | None = None
) -> QuantizedValuePath:
    """Integers of the fused block that the pair is.

    Raises:
        ArchonError: as quantize_value_path.
    """
    return quantize_value_path(path.as_block(spec), input_scale, precision, unit_window=True)


def integer_pair(
    name: str,
    spec: PointwisePairSpec,
    path: QuantizedValuePath,
    signs: Integers,
    threshold: Integers,
    output_scale: float,
) -> PointwisePair:
    """The pair out of its block's integers and its predictor's.

    Args:
        name: of the layer, for messages.
        spec: of the block.
        path: as quantize_pair_path gives it.
        signs: T1 (E, C/G).
        threshold: (E,).
        output_scale: value of one level of what the pair writes.
    """
    return PointwisePair(
        expand_weight=_own_columns(spec, path.expand_weight).astype(np.int8),
        expand_bias=own_order(spec, path.expand_bias).astype(np.int32),
        project_weight=path.project_weight.astype(np.int32),
        requantization=requantization(name, path.project_bias, path.output_scale, output_scale),
        predictor_expand_weight=signs.astype(np.int8),
        predictor_expand_threshold=threshold.astype(np.int32),
    )


def constant_pair_channels(spec: PointwisePairSpec, path: PairPath, signs: Integers, threshold: Integers) -> ConstantChannels:
    """What expanded channels without weights add to each output channel: the same at every pixel, as there is no border."""
    nothing = np.zeros(spec.expanded_channels, dtype=np.int64)
    order = pair_order(spec)
    predictor = QuantizedPredictor(pair_rows(spec, signs), threshold[order], nothing, centre(spec), nothing)
    found = constant_channels(path.as_block(spec), predictor)
    return dataclasses.replace(found, exact=found.exact + found.interior, interior=0)


def with_constants(path: PairPath, constants: ConstantChannels) -> PairPath:
    """The path with what channels without weights add in its last bias."""
    return dataclasses.replace(path, project_bias=path.project_bias + constants.bias)


def fake_quantize_pair(
    spec: PointwisePairSpec, path: PairPath, input_scale: float, precision: Precision | None = None
) -> PairPath:
    """The float weights as the hardware will see them: quantised and scaled back. Shapes as in `path`."""
    floats = quantize_pair_path(spec, path, input_scale, precision).floats()
    return PairPath(
        expand_weight=_own_columns(spec, floats.expand_weight),
        expand_bias=own_order(spec, floats.expand_bias),
        project_weight=floats.project_weight,
        project_bias=floats.project_bias,
    )


def _own_columns(spec: PointwisePairSpec, rows: NDArray[Any]) -> NDArray[Any]:
    """The inverse of pair_rows."""
    return own_order(spec, np.take_along_axis(rows, pair_columns(spec), axis=1))


def own_order(spec: PointwisePairSpec, rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of the block as rows of the pair."""
    own = np.empty_like(rows)
    own[pair_order(spec)] = rows
    return own
