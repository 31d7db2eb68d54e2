"""How long lanes take for their work: when each queue's payload comes and goes, slice word by slice word.

Everything is a maximum of what has to have happened before, as in a timed event graph: a unit begins when its input is there,
when it has finished what came before, and when the queue behind it has room. Vectors run over the lanes of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from sw.cycles.work import LaneWork

Times = NDArray[np.int64]
Reals = NDArray[np.float64]

WALKER_ROWS = 4
"""Rows that the walker has read and not given to its queue."""

FILL_LATENCY = 15
"""Cycles from a slice word to the first product of its pixel, through scan, fetch, accumulation and walk."""

SHARE_LATENCY = 7
"""Cycles from an output's last multiplication, for which its share must have a place in the queue, to that share."""


def short(depth: int) -> int:
    """Cycles that a payload costs besides the one it takes, in a queue of this depth (hw/rtl/queue.py)."""
    return int(depth < 3)


class SliceWords(Protocol):
    """What gives a cluster's lanes their slice words: sw.cycles.predictor."""

    def ready(self, pixel: int) -> int:
        """Earliest cycle of a pixel's first slice word, asked for when all words before it have been taken."""

    def taken(self, cycles: list[int]) -> None:
        """A further pixel's words are in the lanes' queues; when all words so far came there."""


@dataclass
class LaneTimes:
    """When each pixel's last output had all its shares, in cycles since the job's start."""

    ends: Times

    @property
    def cycles(self) -> int:
        """Of the last one."""
        return int(self.ends[-1])


class Fill:
    """Survivor scan, pair fetch and adder rows of a cluster's lanes.

    Args:
        survivors: (words, lanes), surviving pairs of all slice words to come.
        rows: Adder rows of a lane.
        config: Depths of the queues.
    """

    def __init__(self, survivors: Times, rows: int, config: ArchonConfig) -> None:
        words, lanes = survivors.shape
        self._depth, self._word_cycles = config.queues.slice_word, 1 + short(config.queues.slice_word)
        behind = config.queues.survivor + config.queues.pair
        counted = np.cumsum(survivors, axis=0)
        # For each word, how many words' survivors must have left so that its own fit the queues.
        self._behind = np.stack([np.searchsorted(column, column - behind, side="left") for column in counted.T], axis=1)
        self._scan_end = np.zeros(lanes, dtype=np.int64)
        self._taken = np.zeros(words + 1, dtype=np.int64)
        self._fetched = np.zeros((words + 1, lanes), dtype=np.int64)
        self._row_end = np.zeros((lanes, rows), dtype=np.int64)
        self.sent: list[int] = []  # when each word so far came into the lanes' queues
        self._sent, self._word, self._lanes = 0, 0, np.arange(lanes)

    def pixel(self, scans: Times, steps: Times, ready: Times, bank_free: Times) -> Times:
        """When the lanes' banks hold a pixel.

        Args:
            scans: (slices, lanes), as of LaneWork.
            steps: (slices, lanes, adder rows).
            ready: (slices,), earliest cycle of each slice word.
            bank_free: (lanes,), when the pixel's bank was drained.
        """
        self._row_end = np.maximum(self._row_end, bank_free[:, None])
        for scan, step, earliest in zip(scans, steps, ready.tolist(), strict=True):
            word = self._word
            room = int(self._taken[word - self._depth]) if word >= self._depth else 0
            self._sent = max(self._sent + self._word_cycles, room, earliest)
            self.sent.append(self._sent)
            begin = np.maximum(self._scan_end, self._sent + 1)
            self._taken[word] = begin.max()
            self._scan_end = np.maximum(begin + scan, self._fetched[self._behind[word], self._lanes])
            arrived = (begin + 1)[:, None]
            self._row_end = np.where(step > 0, np.maximum(self._row_end, arrived), self._row_end) + step
            self._fetched[word + 1] = np.maximum(self._row_end.max(axis=1), self._fetched[word])
            self._word += 1
        self._scan_end = self._scan_end + 1  # the end mark
        return np.maximum(self._row_end.max(axis=1), self._scan_end)


class Drain:
    """Multipliers of a cluster's lanes, and what takes their shares of the outputs.

    Args:
        lanes: Of the cluster.
        config: Depths of the queues.
        turns: Rows of A for an output, of which the walker reads one a cycle; the last one waits for the queue behind it.
        pace: Cycles that an output takes behind the lanes, at least.
        depthwise: Every lane's share is an output, taken one after the other.
    """

    def __init__(self, lanes: int, config: ArchonConfig, turns: int = 1, pace: float = 1.0, depthwise: bool = False) -> None:
        self._turns = turns
        self._partial, self._pace, self._depthwise = config.queues.partial - 1, pace, depthwise  # one place is kept free
        self._multiplied, self._walked = np.zeros(lanes), np.zeros(lanes)
        self._ahead, self._short = config.queues.row + WALKER_ROWS, short(config.queues.row)
        self._recent = np.zeros((self._partial, lanes))
        self._end = 0.0

    def pixel(self, filled: Times, multiplications: Times) -> Times:
        """When the lanes have read their banks for a pixel.

        Args:
            filled: (lanes,), when the banks held it.
            multiplications: (outputs, lanes), cycles that the multipliers take for each output, at least 1.
        """
        self._walked = np.maximum(self._walked, filled + FILL_LATENCY)
        self._multiplied = np.maximum(self._multiplied, self._walked)
        for first in range(0, len(multiplications), self._partial):
            self._outputs(multiplications[first : first + self._partial])
        self._walked = np.maximum(self._walked, self._multiplied - self._ahead)
        return np.ceil(self._multiplied).astype(np.int64)

    def _outputs(self, multiplications: Times) -> None:
        """Some outputs, no more than a queue of shares holds: whether it has room for them is known."""
        count = len(multiplications)
        needed = np.cumsum(multiplications, axis=0)
        rows = np.minimum(multiplications, self._turns)  # with entries; two in a row wait for a short queue
        walked = self._walked + np.cumsum(self._turns + self._short * rows * rows / self._turns, axis=0)
        self._walked = walked[-1]
        last_row = np.maximum(self._recent[:count], walked - 1) + multiplications / self._turns
        waits = np.maximum(np.maximum.accumulate(last_row - needed, axis=0), self._multiplied)
        multiplied = needed + waits
        self._multiplied = multiplied[-1]
        shares = multiplied.reshape(-1) if self._depthwise else multiplied.max(axis=1)
        shares = shares + SHARE_LATENCY
        position = self._pace * np.arange(1, len(shares) + 1)
        ends = position + np.maximum(np.maximum.accumulate(shares - position), self._end)
        self._end = float(ends[-1])
        taken = ends.reshape(count, -1) if self._depthwise else np.broadcast_to(ends[:, None], multiplied.shape)
        self._recent = np.concatenate([self._recent[count:], taken + 1])

    @property
    def end(self) -> int:
        """When the last output so far had all its shares."""
        return int(np.ceil(self._end))


def lane_times(work: LaneWork, words: SliceWords, config: ArchonConfig, turns: int = 1, pace: float = 1.0) -> LaneTimes:
    """Run the lanes of one cluster.

    Args:
        work: of the pixels, in their order.
        words: what gives them their slice words.
        config: depths of the queues, banks of accumulators.
        turns: rows of A for an output.
        pace: cycles that an output takes behind the lanes, at least.
    """
    pixels, slices, lanes = work.scans.shape
    fill = Fill(work.survivors.reshape(-1, lanes), work.steps.shape[3], config)
    drain = Drain(lanes, config, turns, pace)
    drained = np.zeros((pixels + config.pixel_tile, lanes), dtype=np.int64)
    ends = np.zeros(pixels, dtype=np.int64)
    multiplications, offsets = np.maximum(work.multiplications, 1), np.arange(slices)
    for pixel in range(pixels):
        ready = words.ready(pixel) + offsets
        filled = fill.pixel(work.scans[pixel], work.steps[pixel], ready, drained[pixel])
        words.taken(fill.sent)
        drained[pixel + config.pixel_tile] = drain.pixel(filled, multiplications[pixel])
        ends[pixel] = drain.end
    return LaneTimes(ends)
