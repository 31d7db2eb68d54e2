"""Jobs of fixed layers: accumulators are loaded once, and the multipliers go through all pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.taps import KERNELS, SMALL_TAPS, tap_places
from sw.cycles.lanes import FILL_LATENCY, Drain, Fill
from sw.cycles.segments import Segment
from sw.program.jobs import Job

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

ROW_CYCLES = 6
"""From a loaded row of activations to the first product under it."""


def taps_inside(job: Job) -> NDArray[np.bool_]:
    """(output pixels, taps): which taps of a job's pixels lie in the image; with channel taps all of nine do."""
    fields = job.fields
    rows = np.arange(fields["output_rows"]) + fields["output_row_start"] << fields["stride_two"]
    columns = np.arange(fields["output_width"]) << fields["stride_two"]
    if fields["channel_taps"]:
        return np.ones((len(rows) * len(columns), SMALL_TAPS), dtype=bool)
    below, right = np.array(tap_places(KERNELS[fields["kernel_five"]])).T
    row, column = rows[:, None] + below, columns[:, None] + right
    in_rows, in_columns = (row >= 0) & (row < fields["input_height"]), (column >= 0) & (column < fields["input_width"])
    return (in_rows[:, None] & in_columns[None]).reshape(-1, len(below))


def multiplier_cycles(job: Job, segment: Segment) -> tuple[Integers, Integers]:
    """Cycles of the lanes' multipliers for each output of a pixel, by kind of pixel.

    Returns:
        (kinds, outputs, lanes), and (pixels,) the kind of each pixel. An output takes a cycle at least.
    """
    kinds, kind = np.unique(taps_inside(job), axis=0, return_inverse=True)
    touched = segment.touched(job.fields["output_channels"])
    cycles = np.einsum("ktld,nd->nkl", touched.astype(np.int64), kinds.astype(np.int64))
    return np.maximum(cycles, 1), kind.reshape(-1)


def activations_there(job: Job, loads: Reals) -> Reals:
    """(output pixels,): when the rows under each pixel's window are loaded; `loads` (input rows,), or of all rows together."""
    fields = job.fields
    below = 0 if fields["channel_taps"] else KERNELS[fields["kernel_five"]] // 2
    rows = np.arange(fields["output_rows"]) + fields["output_row_start"] << fields["stride_two"]
    lowest = np.minimum(rows + below - fields["input_row_start"], len(loads) - 1)
    return np.repeat(loads[lowest], fields["output_width"])


def fixed_job(job: Job, segment: Segment, loads: Reals, config: ArchonConfig, pace: float) -> int:
    """Cycle, from the job's start, in which the last output of a fixed job has all its shares.

    Args:
        job: Its descriptor.
        segment: Its tables.
        loads: (input rows,), cycles in which its activations are there; or one for all rows.
        config: Of the accelerator.
        pace: Cycles that an output takes behind the lanes, at least.
    """
    members = segment.members.sum(axis=3)  # (slices, turns, lanes)
    of_lane = segment.members.sum(axis=1).astype(np.int64)  # (slices, lanes, channels)
    steps = np.einsum("slc,scr->slr", of_lane, segment.steps(config))
    filled = Fill(members.sum(axis=1), config.adder_rows, config).pixel(
        np.maximum(members, 1).sum(axis=1), steps, np.arange(len(members)), np.zeros(config.lanes, dtype=np.int64)
    )
    drain = Drain(config.lanes, config, members.shape[1], pace, bool(job.fields["depthwise"]))
    cycles, kinds = multiplier_cycles(job, segment)
    there = np.ceil(activations_there(job, loads)).astype(np.int64) + ROW_CYCLES - FILL_LATENCY
    for kind, earliest in zip(kinds.tolist(), there.tolist(), strict=True):
        drain.pixel(np.maximum(filled, earliest), cycles[kind])
    return drain.end
