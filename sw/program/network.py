"""Layers that are not fused, each in the form in which the accelerator runs it (sw.program.fixed)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import TAPS
from sw.bundle.network import DenseLayer, Requantization
from sw.program.fixed import FixedGroup, FixedLayer
from sw.program.jobs import Shape

CENTRE = TAPS // 2

POOL_TAPS = (4, 5, 7, 8)
"""Each pixel lies under one of these taps of one window with stride 2."""


def pointwise_layer(name: str, layer: DenseLayer, input_shape: Shape, groups: int, *, shuffle: bool) -> FixedLayer:
    """A grouped 1x1 convolution with ReLU; weight (K, C/G)."""
    channels, inputs = layer.weight.shape
    outputs = channels // groups
    parts = []
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        weight = np.zeros((outputs, inputs, TAPS), dtype=np.int8)
        weight[:, :, CENTRE] = layer.weight[rows]
        places = np.arange(outputs) * groups + group if shuffle else np.arange(channels)[rows]
        parts.append(FixedGroup(group * inputs, weight, layer.requantization.part(rows), places))
    return FixedLayer(name, input_shape, tuple(parts), relu=True)


def depthwise_layer(name: str, layer: DenseLayer, input_shape: Shape, stride: int, lanes: int) -> FixedLayer:
    """A 3x3 depthwise convolution without ReLU; weight (C, 3, 3). Lanes share out as many channels as there are lanes."""
    taps = layer.weight.reshape(len(layer.weight), TAPS)
    groups = _channel_groups(taps, layer.requantization, lanes)
    return FixedLayer(name, input_shape, groups, stride=stride)


def pool_layer(name: str, requantization: Requantization, input_shape: Shape, lanes: int) -> FixedLayer:
    """The sum over all pixels: a depthwise convolution with stride 2 whose windows of 2x2 touch each pixel once."""
    taps = np.zeros((input_shape[0], TAPS), dtype=np.int8)
    taps[:, POOL_TAPS] = 1
    return FixedLayer(name, input_shape, _channel_groups(taps, requantization, lanes), stride=2, summed=True)


def dense_layer(name: str, weight: NDArray[np.int8], bias: NDArray[np.int32]) -> FixedLayer:
    """Logits of one pixel's activations; weight (classes, C)."""
    classes, inputs = weight.shape
    taps = np.zeros((classes, inputs, TAPS), dtype=np.int8)
    taps[:, :, CENTRE] = weight
    kept = Requantization(bias, np.ones(classes, dtype=np.int32), np.zeros(classes, dtype=np.int8))
    group = FixedGroup(0, taps, kept, np.arange(classes))
    return FixedLayer(name, (inputs, 1, 1), (group,), summed=True, raw=True)


def _channel_groups(taps: NDArray[np.int8], requantization: Requantization, lanes: int) -> tuple[FixedGroup, ...]:
    """Groups of `lanes` channels, each output channel of its own input channel; taps (C, 9)."""
    groups = []
    for first in range(0, len(taps), lanes):
        rows = slice(first, min(first + lanes, len(taps)))
        weight = np.zeros((rows.stop - first, rows.stop - first, TAPS), dtype=np.int8)
        channels = np.arange(len(weight))
        weight[channels, channels] = taps[rows]
        groups.append(FixedGroup(first, weight, requantization.part(rows), first + channels))
    return tuple(groups)
