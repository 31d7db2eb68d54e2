"""Scales of int8 activations: those that come with the weights, else the best ones for calibration images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sw.quantize.dense import activation_scale
from sw.quantize.weights import Arrays, scale_of

ScaleOf = Callable[[str, NDArray[np.floating]], float]
"""Name of a scale, and the real values that it is for, to the value of one level."""


def measured(_name: str, values: NDArray[np.floating]) -> float:
    """The best scale for these values, whatever its name."""
    return activation_scale(values)


class Scales:
    """Looks scales up among trained weights, measures those that are not there, and remembers all of them.

    Args:
        arrays: weights as sw.train exports them; scales are called as the layers that write what they are for.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.used: dict[str, float] = {}
        """Every scale asked for so far, by name."""

    def __call__(self, name: str, values: NDArray[np.floating]) -> float:
        """The scale `name`."""
        self.used[name] = scale_of(self.arrays, name) if name in self.arrays else activation_scale(values)
        return self.used[name]

    def within(self, prefix: str) -> ScaleOf:
        """The same with a prefix in front of every name."""
        return lambda name, values: self(f"{prefix}{name}", values)
