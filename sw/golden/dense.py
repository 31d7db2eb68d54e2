"""The layers that are not fused: convolution, pointwise and depthwise layers, pools and the dense layer.

Arrays have the images last: activations are int8 (channels, height, width, images).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.taps import SMALL_KERNEL
from sw.bundle.network import DenseLayer, Requantization, Scaling
from sw.golden.exact import FloatType, exact_type
from sw.golden.taps import depthwise_sums, padded, tap_view

Activations = NDArray[np.int8]
Integers = NDArray[np.int64]


def image_activations(image_levels: NDArray[np.int8], images: NDArray[np.uint8]) -> Activations:
    """Pixels uint8 (N, H, W, channels) through the table of activations: (channels, H, W, N)."""
    return np.ascontiguousarray(image_levels[images].transpose(3, 1, 2, 0))


def convolution(layer: DenseLayer, x: Activations, stride: int) -> Activations:
    """3x3 convolution and ReLU; weight (K, C, 3, 3)."""
    dtype = _sum_type(layer.weight)
    kernel = layer.weight.shape[-1]
    framed = padded(x, dtype, kernel)
    taps = [tap_view(framed, row, column, stride, kernel) for row in range(kernel) for column in range(kernel)]
    window = np.stack(taps).reshape(len(taps) * len(x), -1)
    weight = layer.weight.transpose(0, 2, 3, 1).reshape(len(layer.weight), -1).astype(dtype)
    return _relu(_requantized(weight @ window, layer.requantization).reshape(-1, *taps[0].shape[1:]))


def pointwise(layer: DenseLayer, x: Activations, groups: int, *, shuffle: bool, relu: bool = True) -> Activations:
    """Grouped 1x1 convolution, with ReLU and shuffled if asked; weight (K, C/G)."""
    dtype = _sum_type(layer.weight)
    split = x.astype(dtype).reshape(groups, len(x) // groups, -1)
    sums = layer.weight.astype(dtype).reshape(groups, -1, split.shape[1]) @ split
    out = _requantized(sums.reshape(len(layer.weight), -1), layer.requantization)
    if relu:
        out = _relu(out)
    if shuffle:
        out = np.ascontiguousarray(out.reshape(groups, len(out) // groups, -1).swapaxes(0, 1))
    return out.reshape(-1, *x.shape[1:])


def depthwise(layer: DenseLayer, x: Activations, stride: int = 1, *, relu: bool = False) -> Activations:
    """Depthwise convolution, with ReLU if asked; weight (C, k, k)."""
    dtype = _sum_type(layer.weight)
    sums = depthwise_sums(padded(x, dtype, layer.weight.shape[-1]), layer.weight, stride)
    out = _requantized(sums.reshape(len(x), -1), layer.requantization).reshape(sums.shape)
    return _relu(out) if relu else out


def average_pool(requantization: Requantization, x: Activations, stride: int, *, relu: bool = False) -> Activations:
    """The sums under 3x3 windows, of which what lies outside the image counts as 0, requantised (by 1/9 and the scales)."""
    ones = np.ones((len(x), SMALL_KERNEL, SMALL_KERNEL), dtype=np.int8)
    return depthwise(DenseLayer(ones, requantization), x, stride, relu=relu)


def pool(requantization: Requantization, x: Activations) -> Activations:
    """The sum over all pixels, requantised: (channels, N)."""
    return _requantized(x.sum(axis=(1, 2), dtype=np.int64), requantization)


def scale(part: Scaling, x: Activations, gates: Activations) -> Activations:
    """Channels times gates (channels, N)."""
    weight, shift = part.weight[:, None, None, None], part.shift[:, None, None, None]
    return numerics.gated(x, weight, gates[:, None, None], shift).astype(np.int8)


def dense(layer: DenseLayer, pooled: Activations) -> NDArray[np.int32]:
    """Logits int32 (N, classes) of pooled activations (channels, N)."""
    logits = pooled.T.astype(np.int64) @ layer.weight.T.astype(np.int64) + layer.requantization.bias
    return logits.astype(np.int32)


def _sum_type(weight: NDArray[np.int8]) -> FloatType:
    magnitudes = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
    return exact_type(int(magnitudes.max()) << (numerics.ACTIVATION_BITS - 1))


def _requantized(sums: NDArray[np.number], parts: Requantization) -> Activations:
    """int8 of (channels, ...) sums."""
    accumulator = sums.astype(np.int64)
    accumulator += parts.bias.astype(np.int64)[:, None]
    return numerics.requantize(accumulator, parts.multiplier[:, None], parts.shift[:, None]).astype(np.int8)


def _relu(x: Activations) -> Activations:
    return np.maximum(x, 0, out=x)
