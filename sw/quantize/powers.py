"""Integers that are short sums of signed powers of two: the weights W2 of the fused path."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hw.contract import numerics

TERMS = numerics.STEP_TERMS
"""Most signed powers of two in a weight: those of one step of the hardware."""


@cache
def magnitudes(shift_max: int, terms: int = TERMS) -> tuple[int, ...]:
    """All magnitudes, 0 included, that `numerics.signed_powers` writes with at most `terms` terms and `shift_max`.

    The largest is 160 for two terms and shifts up to 7.
    """
    found = []
    for value in range(1 << (shift_max + 1)):
        digits = numerics.signed_powers(value, shift_max + 1)
        if len(digits) <= terms and all(shift <= shift_max for _, shift in digits):
            found.append(value)
    return tuple(found)


@cache
def _nearest_by_half(grid: tuple[int, ...]) -> NDArray[np.int64]:
    """Nearest magnitude for floor(2 * x): exact, as midpoints of integers are multiples of a half."""
    magnitude = np.array(grid, dtype=np.int64)
    centers = (np.arange(2 * magnitude[-1] + 1) + 0.5) / 2
    return magnitude[np.searchsorted((magnitude[1:] + magnitude[:-1]) / 2, centers)]


def nearest(values: ArrayLike, grid: tuple[int, ...]) -> NDArray[np.int64]:
    """The integer nearest to each real value whose magnitude is in `grid`; halfway cases go to the larger magnitude.

    Values beyond the largest one are clamped to it. The grid is in order and begins with 0, as `magnitudes` gives it.
    """
    array = np.asarray(values, dtype=np.float64)
    table = _nearest_by_half(grid)
    index = np.minimum(np.abs(array) * 2, len(table) - 1).astype(np.int64)
    return np.where(array < 0, -table[index], table[index])
