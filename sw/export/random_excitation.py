"""Random squeeze-and-excite layers, whose gates differ from channel to channel."""

from __future__ import annotations

import numpy as np

from sw.export.random_draw import BIAS_DEVIATION, SMALLEST_DEVIATION, sparse
from sw.quantize import calibration
from sw.quantize.calibration import Activations
from sw.quantize.excitation import ExcitationPath, Gates, quantize_gates
from sw.quantize.value_path import Floats

GATE_DEVIATION = 2.0
"""Of a gate before its hard sigmoid, which is 0 below -3 and 1 above 3: few gates are at an end."""


def random_gates(name: str, random: np.random.Generator, squeezed: int, x: Activations, scale: float) -> Gates:
    """Gates of drawn weights.

    Args:
        name: of the block.
        random: of all numbers.
        squeezed: channels between the two layers.
        x: what is squeezed, on calibration images (images, height, width, channels), real values.
        scale: value of one level of it.
    """
    means = x.mean(axis=(1, 2))
    channels = means.shape[-1]
    reduce, reduce_bias, hidden = _layer(random, (squeezed, channels), means)
    excite, excite_bias, _ = _layer(random, (channels, squeezed), np.maximum(hidden, 0))
    path = ExcitationPath(reduce, reduce_bias, GATE_DEVIATION * excite, GATE_DEVIATION * excite_bias)
    return quantize_gates(name, path, x, scale)


def _layer(random: np.random.Generator, shape: tuple[int, int], x: Activations) -> tuple[Floats, Floats, Activations]:
    """Weights for outputs that are one on the whole, biases, and outputs."""
    weight = sparse(random, shape, 0.0)
    out = calibration.pointwise(x, weight)
    factor = 1 / max(float(np.sqrt((out**2).mean())), SMALLEST_DEVIATION)
    bias = random.normal(size=shape[0]) * BIAS_DEVIATION
    return weight * factor, bias, out * np.float32(factor) + bias.astype(np.float32)
