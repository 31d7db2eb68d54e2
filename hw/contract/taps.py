"""Taps of a window: where they lie around its centre, and their order in the hardware."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

KERNELS = (3, 5)
"""Kernel sizes of depthwise layers: rows and columns of their windows."""

SMALL_KERNEL = KERNELS[0]
"""Also that of the windows of raw images and of average pools."""

SMALL_TAPS = SMALL_KERNEL**2
"""Taps of a window of the smallest kernel; also so many channels are a lane's taps in jobs with `channel_taps`."""

SMALL_CENTRE = SMALL_TAPS // 2
"""Centre tap of every window."""


def tap_places(kernel: int) -> tuple[tuple[int, int], ...]:
    """Of each tap, rows below and columns right of the window's centre.

    First come the taps of the smallest kernel, row by row, then those around them, also row by row: so a tap of a small window
    has the same number in a large one.
    """
    reach = kernel // 2
    places = [(row, column) for row in range(-reach, reach + 1) for column in range(-reach, reach + 1)]
    small = SMALL_KERNEL // 2
    return tuple(sorted(places, key=lambda place: max(map(abs, place)) > small))


def in_tap_order(weights: NDArray[Number]) -> NDArray[Number]:
    """Weights (..., kernel, kernel), by row and column of the window, as (..., taps)."""
    kernel = weights.shape[-1]
    rows, columns = np.array(tap_places(kernel)).T + kernel // 2
    return weights[..., rows, columns]
