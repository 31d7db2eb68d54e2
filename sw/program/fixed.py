"""Layers that are not fused, as blocks whose accumulators are loaded once: how they are cut into jobs, and their tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import KERNEL, ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.numerics import ACTIVATION_BITS, OUTPUT_ACCUMULATOR_BITS
from sw.bundle.network import Requantization
from sw.program.jobs import Band, Job, Shape, Window, numbered, reduced, window_fields
from sw.program.plan import LayerPlan, Loads, TensorForm
from sw.program.tables import (
    Integers,
    ValueWeights,
    Words,
    check_depth,
    check_lane_depths,
    lane_section,
    requantize_section,
    slices_of,
    turns_of,
)

BYTES_OF_SUM = OUTPUT_ACCUMULATOR_BITS // ACTIVATION_BITS


@dataclass(frozen=True)
class FixedGroup:
    """Output channels of a layer that read the same neighbouring input channels.

    Args:
        first_input: First of these channels of the layer's input.
        weight: int8 (K, C, 9), by output channel, input channel and tap.
        requantization: Of the K output channels; multipliers of 1 and shifts of 0 in a raw layer.
        channels: (K,), which channels of the layer's output they are.
    """

    first_input: int
    weight: NDArray[np.int8]
    requantization: Requantization
    channels: Integers

    def part(self, outputs: slice, inputs: slice) -> FixedGroup:
        """Some output channels and some input channels of the group."""
        return FixedGroup(
            self.first_input + inputs.start,
            self.weight[outputs, inputs],
            self.requantization.part(outputs),
            self.channels[outputs],
        )


@dataclass(frozen=True)
class FixedLayer:
    """A layer to run: its groups, the shape of its input and what is done with its sums.

    Args:
        name: Of the layer.
        input_shape: Channels, height, width.
        groups: Their `channels` make up the output.
        stride: 1 or 2.
        relu: Negative activations become 0.
        summed: The sums of all pixels are added up: the output is one pixel.
        raw: The output is the sums with their biases, not requantised.
        residual: A tensor of the output's size is added to it (sw.program.plan.Wiring says which).
    """

    name: str
    input_shape: Shape
    groups: tuple[FixedGroup, ...]
    stride: int = 1
    relu: bool = False
    summed: bool = False
    raw: bool = False
    residual: bool = False

    @property
    def output_shape(self) -> Shape:
        """Channels, height, width."""
        channels = sum(len(group.channels) for group in self.groups)
        if self.summed:
            return channels, 1, 1
        return channels, reduced(self.input_shape[1], self.stride), reduced(self.input_shape[2], self.stride)

    @property
    def window(self) -> Window:
        """Input rows that its output rows need: only those at which there are weights."""
        rows = np.zeros(KERNEL, dtype=bool)
        for group in self.groups:
            rows |= group.weight.reshape(-1, KERNEL, KERNEL).any(axis=(0, 2))
        return Window(*self.input_shape[1:], self.stride, above=int(rows[0]), below=int(rows[-1]))

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """Jobs and tables.

        Raises:
            ArchonError: the layer does not fit the configuration, however it is cut.
        """
        chains: list[list[Job]] = []
        segments: list[Words] = []
        loads = Loads(0, 0)
        window, cuts = self.window, [_cut(self, group, config) for group in range(len(self.groups))]
        wanted = 1 if self.summed else max(1, config.clusters // sum(len(pieces) for pieces in cuts))
        for group, links in ((group, links) for group, pieces in enumerate(cuts) for links in pieces):
            chain = []
            for piece in links:
                bands = window.fitting_bands(turns_of(piece.weight.shape[1], config), wanted, config)
                chain += [Job(self.name, group, len(segments), self._fields(piece, window, band, config)) for band in bands]
                segments.append(_segment(piece, self, config))
                loads += load_counts(piece.weight) * len(bands)
            chains += [_chained(chain)] if self.summed else [[job] for job in chain]
        jobs = numbered(_side_by_side(chains, config.clusters))
        form = TensorForm.SUMS if self.raw else TensorForm.ACTIVATIONS
        return LayerPlan(self.name, self.input_shape, self.output_shape, tuple(segments), jobs, loads, output_form=form)

    def _fields(self, piece: FixedGroup, window: Window, band: Band, config: ArchonConfig) -> dict[str, int]:
        outputs, inputs, _ = piece.weight.shape
        fields = window_fields(window, band, piece.first_input, inputs, config) | {
            "fixed": 1,
            "relu": int(self.relu),
            "summed": int(self.summed),
            "raw": int(self.raw),
            "residual": int(self.residual),
            "slices": slices_of(len(_places(piece.weight)), config),
            "output_channels": outputs,
        }
        return fields | {"first_pixel": 0} if self.summed else fields


def load_counts(weight: NDArray[np.int8]) -> Loads:
    """What one job takes to load these weights: a step for every one or two signed powers of two, an addition for each."""
    values, numbers = np.unique(weight, return_counts=True)
    steps = [numerics.accumulation_steps(int(value), ACTIVATION_BITS) for value in values]
    each = np.array([(sum(map(len, of_value)), len(of_value)) for of_value in steps], dtype=np.int64)
    additions, in_all = (numbers @ each).tolist()
    return Loads(additions, in_all)


def _chained(jobs: list[Job]) -> list[Job]:
    """Jobs of one cluster whose sums are added up."""
    jobs[0].fields["sum_first"] = jobs[-1].fields["sum_last"] = 1
    return jobs


def _side_by_side(chains: list[list[Job]], clusters: int) -> Iterator[Job]:
    """Spread chains over the clusters; jobs of as many chains as there are clusters take turns."""
    for first in range(0, len(chains), clusters):
        batch = chains[first : first + clusters]
        for row in itertools.zip_longest(*batch):
            for cluster, job in enumerate(row):
                if job is not None:
                    job.fields["cluster"] = cluster
                    yield job


def _cut(layer: FixedLayer, index: int, config: ArchonConfig) -> list[list[FixedGroup]]:
    """A group in few pieces that fit: parts of its output channels and, where jobs add up, parts of its input channels.

    Returns:
        For every part of the output channels its parts of the input channels.

    Raises:
        ArchonError: not even a single output channel fits.
    """
    group = layer.groups[index]
    outputs, inputs, _ = group.weight.shape
    turns, depths = turns_of(inputs, config), config.depths
    chained = layer.summed and layer.window.output_height * layer.window.output_width == 1
    least = max(math.ceil(outputs / depths.output), math.ceil(outputs * (1 if chained else turns) / depths.accumulator))
    if chained:  # with the image, its rows cannot be shared out among the clusters
        least = max(least, min(outputs, config.clusters // len(layer.groups)))
    refused = ArchonError("")
    for parts in range(min(least, outputs), outputs + 1):
        for links in range(1, turns + 1 if chained else 2):
            pieces = [
                [group.part(one, other) for other in _slices(inputs, links, config.lanes)] for one in _slices(outputs, parts)
            ]
            try:
                for piece in itertools.chain.from_iterable(pieces):
                    _check(piece, layer, config)
            except ArchonError as error:
                refused = error
            else:
                return pieces
    raise ArchonError(f"{layer.name}, group {index}: {refused}")


def _slices(count: int, parts: int, unit: int = 1) -> list[slice]:
    """0..count-1 in parts of (almost) equal size, cut between multiples of `unit`."""
    units = math.ceil(count / unit)
    edges = [min(count, index * units // parts * unit) for index in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _check(piece: FixedGroup, layer: FixedLayer, config: ArchonConfig) -> None:
    outputs, inputs, _ = piece.weight.shape
    check_depth("requantize", outputs, config.depths.output)
    layer.window.fitting_bands(turns_of(inputs, config), layer.window.output_height, config)
    check_lane_depths(_value_weights(piece.weight), config)


def _places(weight: NDArray[np.int8]) -> Integers:
    """(E, 2): input channel and tap of every expanded channel, in an order in which neighbours belong to different lanes.

    There is one at least, for the pixel's end.
    """
    taps, channels = np.nonzero(weight.any(axis=0).T)
    places = np.stack([channels, taps], axis=1).astype(np.int64)
    return places if len(places) else np.zeros((1, 2), dtype=np.int64)


def _value_weights(weight: NDArray[np.int8]) -> ValueWeights:
    """W1 and D one-hot, W2 the weights."""
    places = _places(weight)
    expanded, (channels, taps) = np.arange(len(places)), places.T
    first, depthwise = (np.zeros((len(places), size), dtype=np.int64) for size in weight.shape[1:])
    first[expanded, channels] = depthwise[expanded, taps] = 1
    none = np.zeros(len(places), dtype=np.int64)
    return ValueWeights(first, depthwise, weight[:, channels, taps].astype(np.int64), none, none)


def _segment(piece: FixedGroup, layer: FixedLayer, config: ArchonConfig) -> Words:
    """The table segment of a piece; of a raw output the row stands for its four bytes."""
    plane_pixels = math.prod(layer.output_shape[1:])
    channels = piece.channels * BYTES_OF_SUM if layer.raw else piece.channels
    requantize = requantize_section(piece.requantization, channels, plane_pixels)
    return np.concatenate([requantize, lane_section(_value_weights(piece.weight), config)])
