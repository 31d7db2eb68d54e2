"""Cycles of every layer of a network for one image, from the golden model's masks and the accelerator's structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.memory import LEVEL_WORDS
from hw.contract.taps import KERNELS
from sw.bundle.blocks import pair_as_block, pair_inputs
from sw.bundle.network import FusedBlock, IntegerNetwork, PointwisePair
from sw.cycles.fixed import fixed_job
from sw.cycles.image import byte_pace, windows_end
from sw.cycles.lanes import lane_times
from sw.cycles.predictor import Predictor
from sw.cycles.segments import Segment, read_segment, written_words
from sw.cycles.timeline import JobTimes, JobWork, Timeline
from sw.cycles.work import LaneWork, band_pixels, fused_work
from sw.golden import run
from sw.program import MemoryImage
from sw.program.fixed import BYTES_OF_SUM
from sw.program.jobs import Job
from sw.program.parts import in_parts, repeated_groups
from sw.spec import BlockSpec, PointwisePairSpec

RESIDUAL_CYCLES = 9
"""From the request for a residual to its addition, besides memory's latency."""

TO_REPORT = 16
"""Cycles from the last share of an output to the end of its job."""


@dataclass(frozen=True)
class LayerCycles:
    """A layer of a run.

    Args:
        name: Of the layer.
        cycles: From the end of the layer before to its own; of the first layer from its first job's beginning.
        jobs: When its jobs began and ended, by number.
    """

    name: str
    cycles: int
    jobs: dict[int, JobTimes]


def network_cycles(
    network: IntegerNetwork,
    image: MemoryImage,
    pixels: NDArray[np.uint8],
    config: ArchonConfig,
    latency: int,
) -> list[LayerCycles]:
    """Cycles of every layer for one image, in their order.

    Args:
        network: Its integers.
        image: Its programs and tables for the configuration.
        pixels: uint8 (height, width, channels).
        config: Of the accelerator.
        latency: Of memory, in cycles.
    """
    works = list(_Works(network, image, pixels, config, latency))
    times = Timeline(works, config, latency).times
    numbers = [work.job.number for work in works]
    of_job = dict(zip(numbers, times, strict=True))
    found, before = [], min(item.begin for item in times)
    for program in image.layer_programs:
        jobs = {job.number: of_job[job.number] for job in program.jobs}
        end = max(item.end for item in jobs.values())
        found.append(LayerCycles(program.name, round(end - before), jobs))
        before = end
    return found


class _Works:
    """What the jobs of a network do for one image."""

    def __init__(
        self, network: IntegerNetwork, image: MemoryImage, pixels: NDArray[np.uint8], config: ArchonConfig, latency: int
    ) -> None:
        self._network, self._image, self._config, self._latency = network, image, config, latency
        golden = run(network, pixels[None], keep_activations=True, statistics=False)
        self._activations = {name: tensor[0] for name, tensor in golden.activations.items()}
        self._layers = {layer.name: layer for layer in network.spec.layers}
        self._parts = network.parts()
        self._segments: dict[tuple[int, int], Segment] = {}
        self._lanes: dict[tuple[str, int], LaneWork] = {}
        self._jobs_of = {program.name: len({job.fields["cluster"] for job in program.jobs}) for program in image.layer_programs}

    def __iter__(self) -> Iterator[JobWork]:
        for job in self._image.network_program.jobs:
            if job.fields["cluster"] == self._config.image_unit:
                levels = np.ones(LEVEL_WORDS, dtype=np.int64)
                yield JobWork(job, levels, partial(_image_end, job), byte_pace(job))
                continue
            segment = self._segment(job)
            pace, words = self._output_pace(job, segment)
            ends = partial(self._fixed_end, job, segment) if job.fields["fixed"] else partial(self._fused_end, job)
            residuals = job.fields["residual"] * job.fields["output_rows"] * job.fields["output_width"] * words
            yield JobWork(job, segment.pace, partial(ends, pace), words_beside=residuals)

    def _segment(self, job: Job) -> Segment:
        place = job.fields["table_address"], job.fields["table_words"]
        if place not in self._segments:
            words = self._image.words[place[0] : sum(place)]
            self._segments[place] = read_segment(words, job.fields["turns"], self._config, KERNELS[job.fields["kernel_five"]])
        return self._segments[place]

    def _output_pace(self, job: Job, segment: Segment) -> tuple[float, int]:
        """Cycles that an output takes behind the lanes at least, and words in which those of a pixel lie."""
        words, partial_words = written_words(segment, BYTES_OF_SUM if job.fields["raw"] else 1)
        outputs = len(segment.planes)
        if job.fields["summed"]:
            return 1.0, 0
        sharing = self._jobs_of[job.layer]
        pace = max(1 + partial_words / outputs, sharing * words / outputs)
        if job.fields["residual"]:
            # So many are asked for ahead, but all of a word at once.
            pace = max(pace, (self._latency + RESIDUAL_CYCLES) / max(self._config.queues.residual, outputs / words))
        return pace, words

    def _fixed_end(self, job: Job, segment: Segment, pace: float, loads: NDArray[np.float64]) -> float:
        return fixed_job(job, segment, loads, self._config, pace) + TO_REPORT

    def _fused_end(self, job: Job, pace: float, loads: NDArray[np.float64]) -> float:
        work, predictor = self._lane_work(job).pixels(band_pixels(job)), Predictor(job, loads, self._config)
        return lane_times(work, predictor, self._config, job.fields["turns"], pace).cycles + TO_REPORT

    def _lane_work(self, job: Job) -> LaneWork:
        if (job.layer, job.group) not in self._lanes:
            part, layer = self._parts[job.layer], self._layers[job.layer]
            x, spec = self._source(job.layer), layer.block
            if isinstance(part, PointwisePair) and isinstance(spec, PointwisePairSpec):
                part, block = pair_as_block(part, spec)
                x = np.tile(x, (pair_inputs(spec), 1, 1))
            else:
                assert isinstance(spec, BlockSpec)
                block = spec
            assert isinstance(part, FusedBlock)
            groups = 1 + max(other.group for other in self._image.network_program.jobs if other.layer == job.layer)
            parts = groups // block.groups
            x = repeated_groups(x, block.groups, parts)
            part, block = in_parts(part, block, parts)
            self._lanes[job.layer, job.group] = fused_work(part, block, job.group, x, self._config)
        return self._lanes[job.layer, job.group]

    def _source(self, name: str) -> NDArray[np.int8]:
        """What a layer reads (channels, height, width), its parts put together where it has several."""
        source = self._layers[name].source
        if source.name in self._activations:
            return self._activations[source.name]
        parts = [layer for layer in self._layers.values() if layer.target is not None and layer.target.name == source.name]
        parts.sort(key=lambda layer: layer.first_channel)
        return np.concatenate([self._activations[layer.name] for layer in parts])


def _image_end(job: Job, words_read: NDArray[np.float64]) -> float:
    return windows_end(job, words_read) + 4
