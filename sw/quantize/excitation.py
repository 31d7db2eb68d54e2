"""Squeeze-and-excite: float layers to the integers that give a channel's gate and multiply by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.bundle.network import DenseLayer, Excitation, Requantization, Scaling
from sw.quantize.calibration import Activations, pointwise, rounded
from sw.quantize.dense import WEIGHT_MAX, quantize_dense, requantization
from sw.quantize.scales import ScaleOf, measured
from sw.quantize.value_path import Floats

GATE_SCALE = 2.0**-numerics.GATE_BITS
"""Value of one level of a gate."""


@dataclass(frozen=True)
class ExcitationPath:
    """gate = hard_sigmoid(excite relu(reduce mean(x)))."""

    reduce_weight: Floats
    """(R, C)."""
    reduce_bias: Floats
    excite_weight: Floats
    """(C, R)."""
    excite_bias: Floats


@dataclass(frozen=True)
class Gates:
    """The layers that make gates, in integers, and the gates of the calibration images."""

    squeeze: Requantization
    reduce: DenseLayer
    excite: DenseLayer
    values: Activations
    """(images, C), real."""

    def times(self, x: Activations) -> Activations:
        """Activations (images, height, width, C) by their gates."""
        return np.asarray(x * self.values[:, None, None])

    def excitation(self, name: str, input_scale: float, output_scale: float) -> Excitation:
        """All integers, where one level of what is multiplied, and of the product, have these values.

        Raises:
            ArchonError: no weight of 8 bits and no shift bring one to the other.
        """
        channels, (weight, shift) = len(self.squeeze.bias), _weight_and_shift(name, input_scale * GATE_SCALE / output_scale)
        scaling = Scaling(np.full(channels, weight, dtype=np.int8), np.full(channels, shift, dtype=np.int8))
        return Excitation(self.squeeze, self.reduce, self.excite, scaling)


def quantize_gates(name: str, path: ExcitationPath, x: Activations, scale: float, scale_of: ScaleOf = measured) -> Gates:
    """The layers that make the gates.

    Args:
        name: of the block, for messages.
        path: float weights.
        x: what is squeezed on calibration images (images, height, width, C), real values.
        scale: value of one level of it.
        scale_of: scales squeeze_scale of the means and reduce_scale of the hidden layer.

    Raises:
        ArchonError: a factor that no multiplier and shift express.
    """
    pixels, channels = x.shape[1] * x.shape[2], x.shape[-1]
    means = x.mean(axis=(1, 2))
    means_scale = scale_of("squeeze_scale", means)
    squeeze = requantization(
        f"{name} squeeze", np.zeros(channels, dtype=np.int64), np.full(channels, scale / pixels), means_scale
    )
    hidden = np.maximum(pointwise(rounded(means, means_scale), path.reduce_weight) + path.reduce_bias.astype(np.float32), 0)
    hidden_scale = scale_of("reduce_scale", hidden)
    reduce = quantize_dense(f"{name} reduce", path.reduce_weight, path.reduce_bias, means_scale, hidden_scale)
    # hard_sigmoid(z) = clamp((z + 3) / 6, 0, 1): linear but for the ReLU and the saturation that every layer has.
    weight = path.excite_weight / (2 * numerics.HARD_SIGMOID_REACH)
    bias = path.excite_bias / (2 * numerics.HARD_SIGMOID_REACH) + 0.5
    excite = quantize_dense(f"{name} excite", weight, bias, hidden_scale, GATE_SCALE)
    gates = pointwise(rounded(hidden, hidden_scale), weight) + bias.astype(np.float32)
    return Gates(squeeze, reduce, excite, np.maximum(rounded(gates, GATE_SCALE), 0))


def _weight_and_shift(name: str, factor: float) -> tuple[int, int]:
    """Factor ~ weight / 2**shift with a weight of 7 bits, as exact as these are."""
    shift = numerics.GATE_BITS - math.frexp(factor)[1]
    if round(factor * 2.0**shift) > WEIGHT_MAX:
        shift -= 1
    shift = min(shift, numerics.MULTIPLIER_SHIFT_MAX)
    weight = round(factor * 2.0**shift) if shift >= 0 else 0
    if not weight:
        raise ArchonError(f"{name} scale: a factor from 2**-{numerics.MULTIPLIER_SHIFT_MAX} to 127 is expected, got {factor}")
    return weight, shift
