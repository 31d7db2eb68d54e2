"""Floating point that is exact: integers below a type's limit, in any order of summation."""

from __future__ import annotations

import numpy as np

from hw.contract.errors import ArchonError

FLOAT32_LIMIT = 1 << 24
FLOAT64_LIMIT = 1 << 53

FloatType = type[np.floating]


def exact_type(bound: float) -> FloatType:
    """The fastest float type in which sums are exact whose terms' magnitudes add up to at most `bound`.

    Raises:
        ArchonError: no float type is.
    """
    if bound < FLOAT32_LIMIT:
        return np.float32
    if bound < FLOAT64_LIMIT:
        return np.float64
    raise ArchonError(f"golden model: expected sums below 2**53, got a bound of {bound}")
