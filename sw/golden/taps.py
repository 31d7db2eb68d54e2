"""Windows of activations with the images last, (channels, height, width, images): every tap is a cheap view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.number]


def padded(x: Array, dtype: type[np.number], kernel: int) -> Array:
    """Copy of x (C, H, W, N) as `dtype` with zeros around each image: (C, H + kernel - 1, W + kernel - 1, N)."""
    channels, height, width, images = x.shape
    out = np.zeros((channels, height + kernel - 1, width + kernel - 1, images), dtype=dtype)
    unpadded(out, kernel)[:] = x
    return out


def unpadded(x: Array, kernel: int) -> Array:
    """Of padded x, what lies inside the images (a view)."""
    reach = kernel // 2
    return x[:, reach:-reach, reach:-reach]


def tap_view(x: Array, row: int, column: int, stride: int, kernel: int) -> Array:
    """Of padded x, the input under tap (row, column), each 0..kernel-1, of every output pixel."""
    height, width = x.shape[-3] - (kernel - 1), x.shape[-2] - (kernel - 1)
    return x[..., row : row + height : stride, column : column + width : stride, :]


def depthwise_sums(x: Array, weight: NDArray[np.integer], stride: int) -> Array:
    """sum_d weight[e, d] * x[e, s * p + d]; work is only done for weights that are not zero.

    Args:
        x: padded, (E, H + k - 1, W + k - 1, N), of a type that holds every partial sum exactly.
        weight: (E, k, k).
        stride: 1 or 2.

    Returns:
        (E, ceil(H / stride), ceil(W / stride), N), of the type of x.
    """
    kernel = weight.shape[-1]
    out = np.zeros(tap_view(x, 0, 0, stride, kernel).shape, dtype=x.dtype)
    scratch = np.empty(out.shape[1:], dtype=x.dtype)
    places = range(kernel)
    views = {(row, column): tap_view(x, row, column, stride, kernel) for row in places for column in places}
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
