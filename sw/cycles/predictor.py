"""When a cluster's predictor has the slice words of a pixel: one layer fills the row store, the other follows and frees it."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.taps import KERNELS
from sw.program.jobs import Job

TO_WORDS = 24
"""Cycles from a loaded activation to the predictor's word of its pixel, besides the work of both layers."""

READ_TO_WORD = 7
"""Of these, cycles from the read of a window's last column to its word."""

FREED = 3
"""Cycles from that read until a place of the row store that is not read again is taken."""

WORDS_AHEAD = {3: 9, 5: 11}
"""By the hardware's kernel, words of the depthwise predictor that lanes have not taken: so far it reads ahead of them."""


class Predictor:
    """Both layers of the predictor in one job, whose output pixels are gone through in their order.

    Args:
        job: Its descriptor.
        loads: (input rows,), cycle in which each row is loaded.
        config: Banks of the row store.
    """

    def __init__(self, job: Job, loads: NDArray[np.float64], config: ArchonConfig) -> None:
        fields = job.fields
        self._rows, self._columns, self._width = fields["input_rows"], fields["input_width"], fields["output_width"]
        self._stride, self._reach = 1 + fields["stride_two"], KERNELS[fields["kernel_five"]] // 2
        self._slices, self._banks, self._words_ahead = fields["slices"], config.row_banks, WORDS_AHEAD[config.kernel]
        self._cycles = max(2, self._slices * fields["turns"])  # of the expand predictor for a pixel
        self._first = fields["output_row_start"] * self._stride - fields["input_row_start"]
        # The rows that the first window needs go column by column, then row by row.
        leading = min(self._rows, fields["first_center"] // self._columns + 1 + self._reach)
        self._order = [(row, column) for column in range(self._columns) for row in range(leading)]
        self._order += itertools.product(range(leading, self._rows), range(self._columns))
        self._loads, self._done = [float(load) for load in loads], np.full((self._rows, self._columns), np.inf)
        self._read: list[float] = []
        self._expanded, self._now, self._ready = 0, 0.0, -math.inf

    def ready(self, pixel: int) -> int:
        """Earliest cycle of an output pixel's first slice word; those of the pixels before it have been taken."""
        row, column = divmod(pixel, self._width)
        lowest = min(self._first + self._stride * row + self._reach, self._rows - 1)
        last = min(self._stride * column + self._reach, self._columns - 1)
        while self._done[lowest, last] == np.inf:
            self._expand()
        # The depthwise predictor goes through every input column.
        self._ready = max(self._ready + self._stride * self._slices, float(self._done[lowest, last]) + TO_WORDS)
        return math.ceil(self._ready)

    def taken(self, cycles: list[int]) -> None:
        """Lanes have taken the next pixel's words, after which its columns are read; `cycles` of all words so far."""
        ahead = cycles[-1 - self._words_ahead] if len(cycles) > self._words_ahead else 0
        self._read.append(max(self._ready + self._slices - READ_TO_WORD, ahead))

    def _expand(self) -> None:
        """The expand predictor's next pixel."""
        row, column = self._order[self._expanded]
        self._now = max(self._now, self._loads[row], self._free(row, column)) + self._cycles
        self._done[row, column] = self._now
        self._expanded += 1

    def _free(self, row: int, column: int) -> float:
        """When the place of an input pixel in the row store is not read any more for the pixel that was there before."""
        # The last output row whose windows have the row before it in the same bank.
        reader = (row - self._banks + self._reach - self._first) // self._stride
        if row < self._banks or reader < 0:
            return 0.0
        window = max(0, -(-(column - self._reach) // self._stride))
        return self._read[reader * self._width + min(window, self._width - 1)] + FREED
