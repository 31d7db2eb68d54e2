"""3x3 windows of activations with the images last, (channels, height, width, images): every tap is a cheap view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import KERNEL

Array = NDArray[np.number]


def padded(x: Array, dtype: type[np.number]) -> Array:
    """Copy of x (C, H, W, N) as `dtype` with one zero around each image: (C, H + 2, W + 2, N)."""
    channels, height, width, images = x.shape
    out = np.zeros((channels, height + 2, width + 2, images), dtype=dtype)
    out[:, 1:-1, 1:-1] = x
    return out


def tap_view(x: Array, row: int, column: int, stride: int) -> Array:
    """Of padded x (..., H + 2, W + 2, N), the input under tap (row, column), each 0..2, of every output pixel."""
    height, width = x.shape[-3] - (KERNEL - 1), x.shape[-2] - (KERNEL - 1)
    return x[..., row : row + height : stride, column : column + width : stride, :]


def depthwise_sums(x: Array, weight: NDArray[np.integer], stride: int) -> Array:
    """sum_d weight[e, d] * x[e, s * p + d]; work is only done for weights that are not zero.

    Args:
        x: padded, (E, H + 2, W + 2, N), of a type that holds every partial sum exactly.
        weight: (E, 3, 3).
        stride: 1 or 2.

    Returns:
        (E, ceil(H / stride), ceil(W / stride), N), of the type of x.
    """
    out = np.zeros(tap_view(x, 0, 0, stride).shape, dtype=x.dtype)
    scratch = np.empty(out.shape[1:], dtype=x.dtype)
    views = {(row, column): tap_view(x, row, column, stride) for row in range(KERNEL) for column in range(KERNEL)}
    used = np.argwhere(weight)
    for (channel, row, column), factor in zip(used.tolist(), weight[weight != 0].tolist(), strict=True):
        view, total = views[row, column][channel], out[channel]
        if factor == 1:
            np.add(total, view, out=total)
        elif factor == -1:
            np.subtract(total, view, out=total)
        else:
            np.multiply(view, x.dtype.type(factor), out=scratch)
            np.add(total, scratch, out=total)
    return out
