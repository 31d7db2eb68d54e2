"""Layers that are not fused, as blocks whose accumulators are loaded once: how they are cut into jobs, and their tables."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.numerics import ACTIVATION_BITS, OUTPUT_ACCUMULATOR_BITS
from hw.contract.taps import tap_places
from sw.bundle.network import Requantization
from sw.program.jobs import Band, Job, Shape, Window, check_kernel, numbered, reduced, window_fields
from sw.program.mapping import Mapping, check_places, factorisations, lane_weights, load_counts
from sw.program.plan import LayerPlan, Loads, TensorForm
from sw.program.tables import (
    REQUANTIZE_WORDS,
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
from sw.spec.sections import LARGEST_DIMENSION

BYTES_OF_SUM = OUTPUT_ACCUMULATOR_BITS // ACTIVATION_BITS

INPUT_FIELDS = ("input_address", "first_byte", "planes", "input_channels", "segment", "plane_words")
"""Of a descriptor: what the activations are that a job reads."""


@dataclass(frozen=True)
class FixedGroup:
    """Output channels of a layer that read the same neighbouring input channels.

    Args:
        first_input: First of these channels of the layer's input.
        weight: int8 (K, C, taps), by output channel, input channel and tap (hw.contract.taps.tap_places).
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
        mapping: What lanes' taps and outputs are.
        residual: A tensor of the output's size is added to it (sw.program.plan.Wiring says which).
        gated: Multipliers are gates, written into its tables before they are read (hw.contract.tables.GATE_BYTE).
        gate_rows: Of a layer whose output is such gates: `rows` of the gated layer's plan.
    """

    name: str
    input_shape: Shape
    groups: tuple[FixedGroup, ...]
    stride: int = 1
    relu: bool = False
    summed: bool = False
    raw: bool = False
    mapping: Mapping = Mapping.PIXELS
    residual: bool = False
    gated: bool = False
    gate_rows: tuple[int, ...] = ()

    @property
    def output_shape(self) -> Shape:
        """Channels, height, width."""
        channels = sum(len(group.channels) for group in self.groups)
        if self.summed:
            return channels, 1, 1
        return channels, reduced(self.input_shape[1], self.stride), reduced(self.input_shape[2], self.stride)

    @property
    def kernel(self) -> int:
        """Kernel size of its windows."""
        return math.isqrt(self.groups[0].weight.shape[2])

    @functools.cached_property
    def window(self) -> Window:
        """Input rows that its output rows need: only those at which there are weights."""
        used = np.zeros(self.kernel**2, dtype=bool)
        for group in self.groups:
            used |= group.weight.any(axis=(0, 1))
        rows = [0, *(row for (row, _), wanted in zip(tap_places(self.kernel), used, strict=True) if wanted)]
        return Window(*self.input_shape[1:], self.stride, self.kernel, above=-min(rows), below=max(rows))

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """Jobs and tables.

        Raises:
            ArchonError: the layer does not fit the configuration, however it is cut.
        """
        check_kernel(self.name, self.kernel, config)
        chains: list[list[Job]] = []
        segments: list[Words] = []
        rows, position = np.zeros(self.output_shape[0], dtype=np.int64), 0
        loads = Loads(0, 0)
        window, cuts = self.window, [_cut(self, group, config) for group in range(len(self.groups))]
        wanted = 1 if self.summed else max(1, config.clusters // sum(len(parts) for parts in cuts))
        for group, parts in enumerate(cuts):
            most = max(piece.weight.shape[1] for links in parts for piece in links)
            bands = window.fitting_bands(turns_of(most, config), wanted, config)
            of_parts = []
            for links in parts:
                chain = []
                for piece in links:
                    values = _value_weights(piece, self, config)
                    chain += [Job(self.name, group, len(segments), self._fields(piece, values, band, config)) for band in bands]
                    segments.append(_segment(piece, values, self, config))
                    if self.gated:  # behind the header
                        rows[piece.channels] = position + 1 + REQUANTIZE_WORDS * np.arange(len(piece.channels))
                    position += len(segments[-1])
                    loads += load_counts(values, config) * len(bands)
                of_parts.append(chain)
            if self.summed:
                chains += map(_chained, of_parts)
            else:  # all parts of a band read the same
                chains += [[job] for jobs in zip(*of_parts, strict=True) for job in jobs]
        jobs = numbered(_dealt_out(chains, config.clusters))
        _keep_inputs(jobs)
        form = TensorForm.SUMS if self.raw else TensorForm.GATES if self.gate_rows else TensorForm.ACTIVATIONS
        return LayerPlan(
            self.name, self.input_shape, self.output_shape, tuple(segments), jobs, loads, output_form=form,
            rows=tuple(rows.tolist()) if self.gated else (),
        )  # fmt: skip

    def _fields(self, piece: FixedGroup, values: ValueWeights, band: Band, config: ArchonConfig) -> dict[str, int]:
        fields = window_fields(self.window, band, piece.first_input, piece.weight.shape[1], config) | {
            "fixed": 1,
            "relu": int(self.relu),
            "summed": int(self.summed),
            "raw": int(self.raw),
            "residual": int(self.residual),
            "late_tables": int(self.gated),
            "turns": turns_of(values.expand_weight.shape[1], config),
            "slices": slices_of(len(values.expand_weight), config),
            "output_channels": len(values.project_weight),
        }
        return fields | self.mapping.fields | ({"first_pixel": 0} if self.summed else {})


def _chained(jobs: list[Job]) -> list[Job]:
    """Jobs of one cluster whose sums are added up."""
    jobs[0].fields["sum_first"] = jobs[-1].fields["sum_last"] = 1
    return jobs


def _dealt_out(chains: list[list[Job]], clusters: int) -> Iterator[Job]:
    """Each cluster gets a run of neighbouring chains; the clusters' jobs take turns."""
    edges = [index * len(chains) // clusters for index in range(clusters + 1)]
    of_clusters = [list(itertools.chain(*chains[start:stop])) for start, stop in itertools.pairwise(edges)]
    for row in itertools.zip_longest(*of_clusters):
        for cluster, job in enumerate(row):
            if job is not None:
                job.fields["cluster"] = cluster
                yield job


def _keep_inputs(jobs: tuple[Job, ...]) -> None:
    """Mark jobs that read the same activations as the job before on their cluster."""
    there: dict[int, list[int]] = {}
    for job in jobs:
        read, cluster = [job.fields[name] for name in INPUT_FIELDS], job.fields["cluster"]
        job.fields["same_input"] = int(there.get(cluster) == read)
        there[cluster] = read


def _cut(layer: FixedLayer, index: int, config: ArchonConfig) -> list[list[FixedGroup]]:
    """A group in few pieces that fit: parts of its output channels and, where jobs add up, parts of its input channels.

    Returns:
        For every part of the output channels its parts of the input channels.

    Raises:
        ArchonError: not even a single output channel fits.
    """
    group = layer.groups[index]
    outputs, inputs, _ = group.weight.shape
    depthwise = layer.mapping is Mapping.DEPTHWISE
    chained = layer.summed and not depthwise and layer.window.output_height * layer.window.output_width == 1
    least = math.ceil(outputs / config.depths.output)
    if chained:  # with the image, its rows cannot be shared out among the clusters
        least = max(least, min(outputs, config.clusters // len(layer.groups)))
    elif depthwise:  # without bands, where possible
        channels = max(1, config.depths.activation // (layer.window.height * layer.window.width)) * config.lanes
        words = math.ceil(outputs / CHANNELS_PER_WORD)
        least = max(least, min(words, config.clusters // len(layer.groups)), min(words, math.ceil(outputs / channels)))
    try:
        check_places(group.weight, layer.mapping)
    except ArchonError as error:
        raise ArchonError(f"{layer.name}, group {index}: {error}") from error
    refused = ArchonError("")
    for parts in range(min(least, outputs), outputs + 1):
        for links in range(1, turns_of(inputs, config) + 1 if chained else 2):
            # Parts of whole words, where there are enough.
            unit = 1 if chained or parts * CHANNELS_PER_WORD >= outputs + CHANNELS_PER_WORD else CHANNELS_PER_WORD
            pieces = [
                [group.part(one, one if depthwise else other) for other in _slices(inputs, links, config.lanes)]
                for one in _slices(outputs, parts, unit)
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
    if inputs > LARGEST_DIMENSION:
        raise ArchonError(f"a job reads at most {LARGEST_DIMENSION} input channels, got {inputs}")
    layer.window.fitting_bands(turns_of(inputs, config), layer.window.output_height, config)
    _value_weights(piece, layer, config)


def _value_weights(piece: FixedGroup, layer: FixedLayer, config: ArchonConfig) -> ValueWeights:
    """What loads the piece's weights: the first form that fits.

    Raises:
        ArchonError: none does.
    """
    refused = ArchonError("")
    for values in factorisations(lane_weights(piece.weight, layer.mapping, config.lanes), config):
        try:
            check_lane_depths(values, config)
        except ArchonError as error:
            refused = error
        else:
            return values
    raise refused


def _segment(piece: FixedGroup, values: ValueWeights, layer: FixedLayer, config: ArchonConfig) -> Words:
    """The table segment of a piece; of a raw output the row stands for its four bytes."""
    plane_pixels = math.prod(layer.output_shape[1:])
    channels = piece.channels * BYTES_OF_SUM if layer.raw else piece.channels
    gate_rows = np.array(layer.gate_rows)[channels] if layer.gate_rows else None
    requantize = requantize_section(piece.requantization, channels, plane_pixels, gate_rows)
    return np.concatenate([requantize, lane_section(values, config)])
