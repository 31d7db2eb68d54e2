"""The image unit's job: bytes in, windows out, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD, IMAGE_ROW_BANKS
from sw.program.jobs import Job

ROW_CYCLES = 3
"""From a row's last byte to the first read of the windows below it."""


def byte_pace(job: Job) -> NDArray[np.int64]:
    """(words,), cycles for which the loader has each word of a raw image: one a byte."""
    fields = job.fields
    count = fields["input_height"] * fields["input_width"] * fields["input_channels"]
    pace = np.full(fields["segment"], CHANNELS_PER_WORD, dtype=np.int64)
    pace[-1] = count - CHANNELS_PER_WORD * (len(pace) - 1)
    return pace


def windows_end(job: Job, words_read: NDArray[np.float64]) -> float:
    """When the last window has been written.

    Reading runs up to IMAGE_ROW_BANKS rows ahead of the row above the window's centre; where it waits, all later bytes do.

    Args:
        job: Of the image unit.
        words_read: (words,), when each word of the image would have been read if there were always room for its pixels.
    """
    fields = job.fields
    stride = 1 + fields["stride_two"]
    row_bytes = fields["input_width"] * fields["input_channels"]
    # A column that completes no window costs a cycle.
    idle = 1 if stride == 1 else fields["output_width"]
    row_cycles = fields["output_width"] * fields["planes"] + idle
    last_bytes = (np.arange(fields["input_height"]) + 1) * row_bytes - 1
    read = words_read[last_bytes // CHANNELS_PER_WORD]
    done, late, written = np.zeros(len(read)), 0.0, [0.0] * fields["output_rows"]
    for row in range(len(read)):
        # The row may come when the windows have left the one IMAGE_ROW_BANKS before.
        left = (row - IMAGE_ROW_BANKS + 1) // stride
        frees = written[left] if row >= IMAGE_ROW_BANKS and left < len(written) else 0.0
        late = max(late, frees + row_bytes - read[row])
        done[row] = read[row] + late
        # All windows whose lowest row this is.
        for output in range(len(written)):
            if min(output * stride + 1, len(read) - 1) == row:
                before = written[output - 1] if output else 0.0
                written[output] = max(before, done[row] + ROW_CYCLES) + row_cycles
    return written[-1]
