"""Integers that are short sums of signed powers of two: the weights W2 of the fused path."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hw.contract import numerics

TERMS = 2
"""Most signed powers of two in a weight: each one is a step of the hardware."""


@cache
def magnitudes(shift_max: int, terms: int = TERMS) -> tuple[int, ...]:
    """All magnitudes, 0 included, that `numerics.signed_powers` writes with at most `terms` terms and `shift_max`."""
    found = []
    for value in range(1 << (shift_max + 1)):
        digits = numerics.signed_powers(value, shift_max + 1)
        if len(digits) <= terms and all(shift <= shift_max for _, shift in digits):
            found.append(value)
    return tuple(found)


@cache
def _nearest_by_half(shift_max: int, terms: int) -> NDArray[np.int64]:
    """Nearest magnitude for floor(2 * x): exact, as midpoints of integers are multiples of a half."""
    grid = np.array(magnitudes(shift_max, terms), dtype=np.int64)
    centers = (np.arange(2 * grid[-1] + 1) + 0.5) / 2
    return grid[np.abs(centers[:, None] - grid[None, :]).argmin(axis=1)]


def nearest(values: ArrayLike, shift_max: int, terms: int = TERMS) -> NDArray[np.int64]:
    """The representable integer nearest to each real value; halfway cases go to the larger magnitude.

    Values beyond the largest representable one are clamped to it.
    """
    array = np.asarray(values, dtype=np.float64)
    table = _nearest_by_half(shift_max, terms)
    index = np.minimum(np.abs(array) * 2, len(table) - 1).astype(np.int64)
    return np.where(array < 0, -table[index], table[index])


def largest(shift_max: int, terms: int = TERMS) -> int:
    """Largest representable magnitude: 160 for two terms and shifts up to 7."""
    return magnitudes(shift_max, terms)[-1]
