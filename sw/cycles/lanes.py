"""How long lanes take for their work: when each queue's payload comes and goes, slice word by slice word.

Everything is a maximum of what has to have happened before, as in a timed event graph: a unit begins when its input is there,
when it has finished what came before, and when the queue behind it has room. Vectors run over the lanes of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from sw.cycles.work import LaneWork

Times = NDArray[np.int64]

BANKS = 2
"""Sets of accumulators of a lane: one fills while the other is drained."""

FILL_LATENCY = 8
"""Cycles from a slice word to the first product of its pixel, through scan, fetch, accumulation and walk."""


@dataclass
class LaneTimes:
    """When each pixel's last output had all its shares, in cycles since the first slice word could have come."""

    ends: Times

    @property
    def cycles(self) -> int:
        """Of the last one."""
        return int(self.ends[-1])


def lane_times(work: LaneWork, words_ready: Times, config: ArchonConfig) -> LaneTimes:
    """Run the lanes of one cluster.

    Args:
        work: of the pixels, in their order.
        words_ready: (pixels,), the earliest cycle in which the predictor can give a pixel's first slice word.
        config: depths of the queues.
    """
    pixels, slices, lanes = work.scans.shape
    outputs = work.multiplications.shape[1]
    queues = config.queues
    survivors = np.cumsum(work.survivors.reshape(-1, lanes), axis=0)
    behind = _words_before(survivors, queues.survivor + queues.pair)
    scan_ends = np.zeros((pixels * slices + 1, lanes), dtype=np.int64)
    taken = np.zeros(pixels * slices + 1, dtype=np.int64)
    fetched = np.zeros((pixels * slices + 1, lanes), dtype=np.int64)
    row_end = np.zeros((lanes, work.steps.shape[3]), dtype=np.int64)
    drained = np.zeros((pixels + BANKS, lanes), dtype=np.int64)
    reduced = np.zeros(pixels * outputs + queues.partial + 1, dtype=np.int64)
    ends = np.zeros(pixels, dtype=np.int64)
    lane_range = np.arange(lanes)
    sent, multiplied, word = 0, np.zeros(lanes, dtype=np.int64), 0
    for pixel in range(pixels):
        bank_free = drained[pixel]  # of the pixel BANKS before
        row_end = np.maximum(row_end, bank_free[:, None])
        for index in range(slices):
            room = taken[word - queues.slice_word] if word >= queues.slice_word else 0
            sent = max(sent + 1, room, int(words_ready[pixel]) + index)
            begin = np.maximum(scan_ends[word], sent + 1)
            taken[word] = begin.max()
            held = fetched[behind[word], lane_range]
            scan_ends[word + 1] = np.maximum(begin + work.scans[pixel, index], held)
            arrived = (begin + 1)[:, None]
            row_end = np.where(work.steps[pixel, index] > 0, np.maximum(row_end, arrived), row_end) + work.steps[pixel, index]
            fetched[word + 1] = np.maximum(row_end.max(axis=1), fetched[word])
            word += 1
        scan_ends[word] += 1  # the end mark
        filled = np.maximum(row_end.max(axis=1), scan_ends[word])
        multiplied = np.maximum(multiplied, filled + FILL_LATENCY)
        first = pixel * outputs
        for output in range(outputs):
            # A share leaves when the queue has room, so no sooner than the reduction has taken the one `partial` before.
            waits = reduced[max(0, first + output - queues.partial)]
            multiplied = np.maximum(multiplied + np.maximum(work.multiplications[pixel, output], 1), waits)
            reduced[first + output + 1] = max(int(reduced[first + output]) + 1, int(multiplied.max()) + 1)
        drained[pixel + BANKS] = multiplied
        ends[pixel] = reduced[first + outputs]
    return LaneTimes(ends)


def _words_before(survivors: Times, depth: int) -> Times:
    """For each word, (words, lanes): how many words' survivors must have left so that its own fit a queue of `depth`."""
    return np.stack(
        [np.searchsorted(column, column - depth, side="left") for column in survivors.T],
        axis=1,
    ).astype(np.int64)
