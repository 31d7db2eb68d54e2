"""Cycles of every layer of a network for one image, from the golden model's masks and the accelerator's structure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.cycles.lanes import lane_times
from sw.cycles.work import Integers, LaneWork, band_pixels, fused_work
from sw.golden import run
from sw.program import MemoryImage
from sw.program.jobs import Job
from sw.spec import BlockSpec

MEMORY_LATENCY = 100

BARRIER = 30
"""Cycles from the end of a layer's last job to the start of the next layer's first one."""

TO_WORDS = 24
"""Cycles from a loaded activation to the predictor's word of its pixel, besides the work of both layers."""

TO_REPORT = 24
"""Cycles from the last share of an output to the end of its job."""


@dataclass(frozen=True)
class JobCycles:
    """What a fused job takes, alone in its cluster.

    Args:
        first_word: Cycles until the first slice word.
        cycles: In all.
    """

    first_word: int
    cycles: int


def row_loads(job: Job, sharing: int) -> Integers:
    """(input rows,) cycle in which each row of the job's input is complete, `sharing` clusters loading at the same time."""
    fields = job.fields
    words = fields["input_width"] * fields["planes"] * sharing
    return MEMORY_LATENCY + 10 + words * np.arange(1, fields["input_rows"] + 1)


def expand_times(job: Job, loads: Integers) -> Integers:
    """(input rows, input columns): cycle in which the expand predictor has done a pixel."""
    fields = job.fields
    rows, columns = fields["input_rows"], fields["input_width"]
    each = max(2, fields["slices"] * fields["turns"])
    # The rows that the first window needs go column by column, then row by row.
    leading = min(rows, 2 + fields["first_center"] // columns)
    order = list(itertools.product(range(columns), range(leading)))
    order = [(row, column) for column, row in order] + list(itertools.product(range(leading, rows), range(columns)))
    done, now = np.zeros((rows, columns), dtype=np.int64), 0
    for row, column in order:
        now = max(now, int(loads[row])) + each
        done[row, column] = now
    return done


def words_ready(job: Job, loads: Integers) -> Integers:
    """(output pixels,): earliest cycle of a pixel's first slice word."""
    fields = job.fields
    stride = 1 + fields["stride_two"]
    done = expand_times(job, loads)
    first = fields["output_row_start"] * stride - fields["input_row_start"]
    rows = np.minimum(first + stride * np.arange(fields["output_rows"]) + 1, fields["input_rows"] - 1)
    columns = np.minimum(stride * np.arange(fields["output_width"]) + 1, fields["input_width"] - 1)
    ready = done[rows][:, columns].ravel() + TO_WORDS
    pace = stride * fields["slices"]  # of the depthwise predictor, which goes through every input column
    return np.maximum.accumulate(ready - pace * np.arange(len(ready))) + pace * np.arange(len(ready))


def fused_job(job: Job, work: LaneWork, config: ArchonConfig, sharing: int) -> JobCycles:
    """A job of a fused block, of `sharing` that run at the same time."""
    ready = words_ready(job, row_loads(job, sharing))
    times = lane_times(work.pixels(band_pixels(job)), ready, config)
    return JobCycles(int(ready[0]), times.cycles + TO_REPORT)


def fused_layer(jobs: tuple[Job, ...], block: FusedBlock, spec: BlockSpec, x: NDArray[np.int8], config: ArchonConfig) -> int:
    """Cycles of a fused block: of the cluster that is done last."""
    busy: dict[int, int] = {}
    works = {group: fused_work(block, spec, group, x, config) for group in {job.group for job in jobs}}
    sharing = min(config.clusters, len(jobs))
    for job in jobs:
        cluster = job.fields["cluster"]
        busy[cluster] = busy.get(cluster, 0) + fused_job(job, works[job.group], config, sharing).cycles
    return max(busy.values()) + BARRIER


def _first_jobs(jobs: tuple[Job, ...]) -> list[Job]:
    """The first job of every cluster."""
    return list({job.fields["cluster"]: job for job in reversed(jobs)}.values())


def fused_cycles(
    network: IntegerNetwork, image: MemoryImage, pixels: NDArray[np.uint8], config: ArchonConfig
) -> dict[str, int]:
    """Cycles of every fused block for one image (height, width, channels)."""
    golden = run(network, pixels[None], keep_activations=True)
    assert golden.block_inputs is not None
    x, found, before = golden.block_inputs[0], {}, 0
    jobs = {program.name: program.jobs for program in image.layer_programs}
    for index, (block, spec) in enumerate(zip(network.fused_blocks, network.spec.fused_blocks, strict=True), start=1):
        name = f"block {index}"
        # Tables are prefetched while the layer before runs; all clusters' come through one port.
        tables = sum(job.fields["table_words"] for job in _first_jobs(jobs[name])) + MEMORY_LATENCY if before else 0
        found[name] = max(0, tables - before) + fused_layer(jobs[name], block, spec, x, config)
        before = found[name]
        x = golden.activations[name][0]
    return found
