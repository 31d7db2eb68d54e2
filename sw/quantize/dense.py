"""Layers that are not fused: int8 weights with a scale per output channel, BatchNorm folded into the requantisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.errors import ArchonError
from hw.contract.memory import IMAGE_LEVELS
from sw.bundle.network import DenseLayer, Requantization
from sw.datasets import normalise
from sw.quantize.value_path import Floats, Integers

WEIGHT_MAX = numerics.signed_range(numerics.ACTIVATION_BITS)[1]
"""int8 weights are symmetric."""


def activation_scale(values: NDArray[np.floating]) -> float:
    """Value of one int8 level that rounds and clips these activations with the least squared error."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    peak = float(np.abs(flat).max(initial=0.0))
    if peak == 0:
        return 1.0
    best = (np.inf, peak)
    for fraction in np.linspace(0.3, 1.0, 29):
        scale = fraction * peak / WEIGHT_MAX
        error = float(((numerics.saturate(np.rint(flat / scale), numerics.ACTIVATION_BITS) * scale - flat) ** 2).sum())
        best = min(best, (error, scale))
    return float(best[1])


def image_levels() -> tuple[NDArray[np.int8], float]:
    """The (256,) table of activations of pixel values, and its scale: the brightest or darkest pixel is at the end."""
    values = normalise(np.arange(IMAGE_LEVELS, dtype=np.uint8)).astype(np.float64)
    scale = float(np.abs(values).max()) / WEIGHT_MAX
    return np.rint(values / scale).astype(np.int8), scale


def requantization(name: str, bias: Integers, unit: Floats, output_scale: float) -> Requantization:
    """Multipliers and shifts for accumulators that count `unit` (channels,) and outputs that count `output_scale`.

    `bias` (channels,) is in units of the accumulator.

    Raises:
        ArchonError: a bias beyond 32 bits, or a factor that no multiplier and shift express.
    """
    if not numerics.fits_signed(bias, numerics.OUTPUT_ACCUMULATOR_BITS):
        worst = int(np.abs(bias).argmax())
        raise ArchonError(f"{name}: the bias of channel {worst} needs more than 32 bits, got {bias[worst]}")
    try:
        pairs = [numerics.quantize_multiplier(float(factor)) for factor in unit / output_scale]
    except ArchonError as error:
        raise ArchonError(f"{name}: {error}") from error
    return Requantization(
        bias=bias.astype(np.int32),
        multiplier=np.array([multiplier for multiplier, _ in pairs], dtype=np.int32),
        shift=np.array([shift for _, shift in pairs], dtype=np.int8),
    )


def quantize_dense(name: str, weight: Floats, bias: Floats, input_scale: float, output_scale: float) -> DenseLayer:
    """int8 weights for float ones (channels, ...) with BatchNorm folded in; ReLU, if any, is the executor's.

    Args:
        name: of the layer, for messages.
        weight: float, output channel first.
        bias: float (channels,).
        input_scale: value of one level of the input.
        output_scale: value of one level of the output.
    """
    # A channel without weights still has a bias, which needs a fine unit.
    scale = _channel_scales(weight, output_scale / input_scale / IMAGE_LEVELS)
    integers = np.rint(weight / _by_channel(scale, weight)).astype(np.int8)
    unit = scale * input_scale
    return DenseLayer(integers, requantization(name, np.rint(bias / unit).astype(np.int64), unit, output_scale))


def rounded_weights(weight: Floats) -> Floats:
    """Float weights (channels, ...) as the int8 ones of quantize_dense stand for them."""
    scale = _by_channel(_channel_scales(weight, 1.0), weight)
    return np.asarray(np.rint(weight / scale) * scale)


def _channel_scales(weight: Floats, empty: float) -> Floats:
    """(channels,): what one unit of the integer weights is worth; `empty` in channels without weights."""
    peak = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    return np.where(peak > 0, peak / WEIGHT_MAX, empty)


def _by_channel(values: Floats, weight: Floats) -> Floats:
    return values.reshape(-1, *(1,) * (weight.ndim - 1))
