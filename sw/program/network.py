"""Layers that are not fused, each in the form in which the accelerator runs it (sw.program.fixed)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.memory import window_bytes
from hw.contract.taps import SMALL_CENTRE, SMALL_TAPS, in_tap_order
from sw.bundle.network import DenseLayer, Requantization, Scaling
from sw.program.fixed import FixedGroup, FixedLayer
from sw.program.jobs import Shape
from sw.program.mapping import Mapping

POOL_TAPS = (4, 5, 7, 8)
"""Each pixel lies under one of these taps of one window with stride 2."""


def pointwise_layer(name: str, layer: DenseLayer, input_shape: Shape, groups: int, lanes: int, *, shuffle: bool) -> FixedLayer:
    """A grouped 1x1 convolution with ReLU; weight (K, C/G).

    Shuffled groups that share words of the output are one, where all their channels are taps of one turn.
    """
    channels, inputs = layer.weight.shape
    outputs = channels // groups
    numbers = np.arange(channels).reshape(groups, outputs)
    places = numbers.reshape(outputs, groups).T if shuffle else numbers
    weight = np.zeros((groups, outputs, inputs, SMALL_TAPS), dtype=np.int8)
    weight[..., SMALL_CENTRE] = layer.weight.reshape(groups, outputs, inputs)
    parts = [
        FixedGroup(group * inputs, weight[group], layer.requantization.part(numbers[group]), places[group])
        for group in range(groups)
    ]
    if shuffle and groups * inputs <= SMALL_TAPS * lanes:
        parts = [_merged(parts)]
    return FixedLayer(name, input_shape, tuple(parts), relu=True, mapping=Mapping.CHANNELS)


def over_windows(weight: NDArray[np.int8], lanes: int) -> NDArray[np.int8]:
    """Weights (K, C) of a layer over an image's windows, for every byte of these (hw.contract.memory.window_bytes).

    Of a channel that several bytes hold, each output's weight goes to the one whose lane has fewest weights so far.
    """
    outputs, channels = weight.shape
    held = np.array(window_bytes(channels))
    spread = np.zeros((outputs, len(held)), dtype=np.int8)
    single = np.bincount(held)[:channels] == 1
    spread[:, :channels] = weight * single
    loads = np.zeros(lanes, dtype=np.int64)
    np.add.at(loads, np.arange(len(held)) % lanes, np.count_nonzero(spread, axis=0))
    for output, channel in np.argwhere(weight * ~single):
        byte = min(np.flatnonzero(held == channel).tolist(), key=lambda place: loads[place % lanes])
        spread[output, byte] = weight[output, channel]
        loads[byte % lanes] += 1
    return spread


def _merged(groups: list[FixedGroup]) -> FixedGroup:
    """One group for all, its output channels in ascending order."""
    inputs = sum(group.weight.shape[1] for group in groups)
    order = np.argsort(np.concatenate([group.channels for group in groups]))
    weight = np.zeros((len(order), inputs, SMALL_TAPS), dtype=np.int8)
    row = 0
    for group in groups:
        rows, columns = group.weight.shape[:2]
        weight[row : row + rows, group.first_input : group.first_input + columns] = group.weight
        row += rows
    parts = [group.requantization for group in groups]
    requantization = Requantization(
        *(np.concatenate([getattr(part, name) for part in parts])[order] for name in ("bias", "multiplier", "shift"))
    )
    return FixedGroup(0, weight[order], requantization, np.arange(len(order)))


def depthwise_layer(name: str, layer: DenseLayer, input_shape: Shape, stride: int) -> FixedLayer:
    """A depthwise convolution without ReLU; weight (C, k, k)."""
    group = _channelwise(in_tap_order(layer.weight), layer.requantization)
    return FixedLayer(name, input_shape, (group,), stride=stride, mapping=Mapping.DEPTHWISE)


def scale_layer(name: str, scaling: Scaling, input_shape: Shape) -> FixedLayer:
    """Every channel times a gate: the weight under the centre tap, the gate as the multiplier behind the sum."""
    channels, nothing = len(scaling.weight), np.zeros(len(scaling.weight), dtype=np.int32)
    taps = np.zeros((channels, SMALL_TAPS), dtype=np.int8)
    taps[:, SMALL_CENTRE] = scaling.weight
    group = _channelwise(taps, Requantization(nothing, nothing, scaling.shift))
    return FixedLayer(name, input_shape, (group,), gated=True, mapping=Mapping.DEPTHWISE)


def pool_layer(name: str, requantization: Requantization, input_shape: Shape) -> FixedLayer:
    """The sum over all pixels: a depthwise convolution with stride 2 whose windows of 2x2 touch each pixel once."""
    taps = np.zeros((input_shape[0], SMALL_TAPS), dtype=np.int8)
    taps[:, POOL_TAPS] = 1
    group = _channelwise(taps, requantization)
    return FixedLayer(name, input_shape, (group,), stride=2, summed=True, mapping=Mapping.DEPTHWISE)


def dense_layer(name: str, weight: NDArray[np.int8], bias: NDArray[np.int32]) -> FixedLayer:
    """Logits of one pixel's activations; weight (classes, C)."""
    classes, inputs = weight.shape
    taps = np.zeros((classes, inputs, SMALL_TAPS), dtype=np.int8)
    taps[:, :, SMALL_CENTRE] = weight
    kept = Requantization(bias, np.ones(classes, dtype=np.int32), np.zeros(classes, dtype=np.int8))
    group = FixedGroup(0, taps, kept, np.arange(classes))
    return FixedLayer(name, (inputs, 1, 1), (group,), summed=True, raw=True, mapping=Mapping.CHANNELS)


def _channelwise(taps: NDArray[np.int8], requantization: Requantization) -> FixedGroup:
    """Each output channel of its own input channel; taps (C, taps)."""
    channels = np.arange(len(taps))
    weight = np.zeros((len(taps), *taps.shape), dtype=np.int8)
    weight[channels, channels] = taps
    return FixedGroup(0, weight, requantization, channels)
