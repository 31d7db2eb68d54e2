"""Integer predictor: ternary weights with BatchNorm's sign, integer thresholds, level shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.quantize.precision import Precision
from sw.quantize.value_path import Floats, Integers, ValuePath


@dataclass(frozen=True)
class TernaryLayer:
    """One predictor layer in float: pre-activation = scale * sum(alpha * signs * step * input) + offset."""

    signs: Integers
    """(E, ...), -1, 0 or 1."""
    unit: float
    """alpha * step: what a sum of one is worth before BatchNorm."""
    scale: Floats
    """(E,) of BatchNorm."""
    offset: Floats
    """(E,) of BatchNorm."""


@dataclass(frozen=True)
class QuantizedPredictor:
    """Names and shapes as in sw.bundle.network.FusedBlock, without `predictor_`."""

    expand_weight: Integers
    expand_threshold: Integers
    level_shift: Integers
    depthwise_weight: Integers
    depthwise_threshold: Integers


def quantize_predictor(
    expand: TernaryLayer, depthwise: TernaryLayer, level_shift: Integers, precision: Precision | None = None
) -> QuantizedPredictor:
    """Thresholds on integer sums that decide as the float predictor does, for every possible input.

    scale * unit * sum + offset > 0 is, for a positive scale, sum > t with t = -offset / (scale * unit), and as sums are
    integers, sum > floor(t); a negative scale turns the signs. Thresholds are kept just beyond what sums can reach:
    further ones decide the same.

    Raises:
        ArchonError: a threshold within reach of the sums does not fit `precision.widths.predictor_sum`.
    """
    precision = precision or Precision()
    saturated = numerics.LEVEL_MAX << level_shift.astype(np.int64)
    first, first_threshold = quantize_expand(expand, precision, saturated)
    second, second_real = _signed_sums(depthwise)
    taps = second.reshape(len(second), -1)
    highest = numerics.LEVEL_MAX * (taps > 0).sum(axis=1)
    lowest = numerics.LEVEL_MAX * (taps < 0).sum(axis=1)
    second_threshold = _floor_within(second_real, -lowest - 1, highest)
    _check_width("predictor_depthwise_threshold", second_threshold, precision.widths.predictor_sum)
    return QuantizedPredictor(first, first_threshold, level_shift.astype(np.int64), second, second_threshold)


def quantize_expand(
    expand: TernaryLayer, precision: Precision | None = None, saturated: Integers | int = 1
) -> tuple[Integers, Integers]:
    """T1 with BatchNorm's sign (E, C/G) and thresholds (E,) of an expand layer, as in quantize_predictor.

    Args:
        expand: in float.
        precision: of the integers; the hardware's when left out.
        saturated: excess (E,) beyond which a larger one makes no difference; where only the sign counts, one.

    Raises:
        ArchonError: a threshold within reach of the sums does not fit `precision.widths.predictor_sum`.
    """
    precision = precision or Precision()
    low, high = numerics.signed_range(precision.predictor_input)
    signs, real = _signed_sums(expand)
    reach = max(-low, high) * np.abs(signs).sum(axis=1)
    threshold = _floor_within(real, -(reach + saturated), reach)
    _check_width("predictor_expand_threshold", threshold, precision.widths.predictor_sum)
    return signs, threshold


def _signed_sums(layer: TernaryLayer) -> tuple[Integers, Floats]:
    """Signs with BatchNorm's sign multiplied in, and the real threshold of their sum."""
    turn = np.where(layer.scale < 0, -1, 1).reshape(-1, *(1,) * (layer.signs.ndim - 1))
    per_sum = np.abs(layer.scale.astype(np.float64)) * layer.unit
    constant = np.where(layer.offset > 0, -np.inf, np.inf)
    flat = per_sum <= 0
    real = np.where(flat, constant, -layer.offset / np.where(flat, 1.0, per_sum))
    return layer.signs.astype(np.int64) * turn, real


def _floor_within(real: Floats, low: Integers, high: Integers) -> Integers:
    return np.floor(np.clip(real, low, high)).astype(np.int64)


def _check_width(name: str, values: Integers, bits: int) -> None:
    if not numerics.fits_signed(values, bits):
        worst = int(np.abs(values).argmax())
        needed = numerics.signed_bits(int(np.abs(values[worst])))
        raise ArchonError(f"{name}: channel {worst} holds {values[worst]}, which needs {needed} bits, got {bits}")


@dataclass(frozen=True)
class ConstantChannels:
    """Expanded channels without any W1: their contribution does not depend on the image."""

    bias: Floats
    """(K,), to be added to b3."""
    exact: int
    """Channels whose contribution is the same at every pixel."""
    interior: int
    """Channels whose contribution differs at the border, where the depthwise window meets padding; the interior's is
    taken everywhere."""


def constant_channels(path: ValuePath, predictor: QuantizedPredictor) -> ConstantChannels:
    """What expanded channels with an all-zero W1 row add to each output channel."""
    expanded = len(path.expand_weight)
    dead = ~path.expand_weight.any(axis=1) & ~predictor.expand_weight.any(axis=1) & path.columns().any(axis=1)
    level = numerics.predictor_level(-predictor.expand_threshold, predictor.level_shift)
    taps = predictor.depthwise_weight.reshape(expanded, -1)
    second = taps.sum(axis=1) * level > predictor.depthwise_threshold
    depthwise = path.depthwise_weight.reshape(expanded, -1)
    value = path.depthwise_bias + (level > 0) * path.expand_bias * depthwise.sum(axis=1)
    contribution = np.where(dead & second, value, 0.0)
    groups = path.groups
    project = path.project_weight.reshape(groups, -1, expanded // groups)
    bias = (project @ contribution.reshape(groups, -1, 1)).reshape(-1)
    uniform = (level == 0) | ~(taps.any(axis=1) | depthwise.any(axis=1))
    return ConstantChannels(bias, int((dead & uniform).sum()), int((dead & ~uniform).sum()))


def level_shifts(high: NDArray[np.integer], shift_max: int) -> Integers:
    """(E,), the least shift with which the 15 levels reach the excess `high` (E,)."""
    return np.clip(np.ceil(np.log2(np.maximum(high, 1) / numerics.LEVEL_MAX)), 0, shift_max).astype(np.int64)
