"""Jobs: what one cluster does at a time, some output channels of a layer for a band of output rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.errors import ArchonError
from sw.program.tables import check_depth, turns_of

Band = tuple[int, int]
"""First output row, and rows."""

Shape = tuple[int, int, int]
"""Channels, height and width."""


@dataclass(frozen=True)
class Job:
    """A job of a layer and the fields of its descriptor (hw.contract.descriptor.JOB).

    Args:
        layer: Its name.
        group: Of the layer.
        table: Which of the layer's table segments the job uses.
        fields: Of the descriptor; addresses count from where the layer's tensors and tables lie until `placed` is called.
    """

    layer: str
    group: int
    table: int
    fields: dict[str, int]

    @property
    def number(self) -> int:
        """Echoed in the job's report."""
        return self.fields["job"]

    def placed(
        self,
        first_job: int,
        input_address: int,
        output_address: int,
        tables: list[tuple[int, int]],
        residual_address: int | None = None,
    ) -> Job:
        """The job in its program.

        Args:
            first_job: Number of the layer's first job.
            input_address: Word address of the layer's input.
            output_address: Word address of its output.
            tables: Word address and words of each of its table segments.
            residual_address: Word address of what is added to its output; its input's when left out.
        """
        fields = dict(self.fields)
        fields["job"] += first_job
        fields["input_address"] += input_address
        fields["output_address"] += output_address
        added = input_address if residual_address is None else residual_address
        fields["residual_address"] += added * fields["residual"]
        fields["table_address"], fields["table_words"] = tables[self.table]
        return Job(self.layer, self.group, self.table, fields)


def reduced(size: int, stride: int) -> int:
    """Output rows or columns of a "same" window: ceil(size / stride)."""
    return -(-size // stride)


@dataclass(frozen=True)
class Window:
    """How output rows come from input rows: image size, stride, kernel, and rows needed above and below the centre's."""

    height: int
    width: int
    stride: int
    kernel: int
    above: int
    below: int

    @property
    def output_height(self) -> int:
        """Output rows."""
        return reduced(self.height, self.stride)

    @property
    def output_width(self) -> int:
        """Output columns."""
        return reduced(self.width, self.stride)

    def input_rows(self, band: Band) -> tuple[int, int]:
        """First input row and input rows of a band: its halo, clipped to the image."""
        start, rows = band
        first = max(0, self.stride * start - self.above)
        return first, min(self.height, self.stride * (start + rows - 1) + self.below + 1) - first

    def bands(self, count: int) -> list[Band]:
        """The output rows in `count` bands of (almost) equal height."""
        edges = [index * self.output_height // count for index in range(count + 1)]
        return [(start, stop - start) for start, stop in itertools.pairwise(edges)]

    def fitting_bands(self, turns: int, wanted: int, config: ArchonConfig) -> list[Band]:
        """At least `wanted` bands, as far as there are rows, and as many as it takes for their inputs to fit.

        Raises:
            ArchonError: not even the input of one output row fits the activation memory.
        """
        needed = 0
        for count in range(min(wanted, self.output_height), self.output_height + 1):
            bands = self.bands(count)
            needed = turns * self.width * max(self.input_rows(band)[1] for band in bands)
            if needed <= config.depths.activation:
                return bands
        raise ArchonError(f"activation memory needs {needed} rows, the configuration has {config.depths.activation}")


def window_fields(window: Window, band: Band, first_channel: int, channels: int, config: ArchonConfig) -> dict[str, int]:
    """Descriptor fields of a job that reads `channels` channels of the layer's input, the others zero."""
    first_plane, first_byte = divmod(first_channel, CHANNELS_PER_WORD)
    row_start, rows = band
    input_start, input_rows = window.input_rows(band)
    plane_words = window.height * window.width
    return dict.fromkeys((item.name for item in JOB.fields), 0) | {
        "stride_two": int(window.stride == 2),
        "kernel_five": int(window.kernel == 5),
        "input_height": window.height,
        "input_width": window.width,
        "input_row_start": input_start,
        "input_rows": input_rows,
        "output_width": window.output_width,
        "output_row_start": row_start,
        "output_rows": rows,
        "input_channels": channels,
        "first_byte": first_byte,
        "planes": -(-(first_byte + channels) // CHANNELS_PER_WORD),
        "turns": turns_of(channels, config),
        "segment": input_rows * window.width,
        "plane_words": plane_words,
        "first_center": (window.stride * row_start - input_start) * window.width,
        "first_pixel": row_start * window.output_width,
        "input_address": first_plane * plane_words + input_start * window.width,
    }


def check_kernel(name: str, kernel: int, config: ArchonConfig) -> None:
    """Raise ArchonError where the kernel of layer `name` is larger than the hardware's."""
    if kernel > config.kernel:
        raise ArchonError(f"{name}: kernel {kernel} needs hardware of kernel {kernel}, the configuration has {config.kernel}")


def check_row_store(width: int, slices: int, config: ArchonConfig) -> None:
    """Raise ArchonError where the row store is too small for all slices of a row."""
    check_depth("row store", width * slices, config.depths.row_store)


def numbered(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The jobs of a layer in their order, numbered from 0; the first one waits for all jobs before it."""
    listed = tuple(jobs)
    for index, job in enumerate(listed):
        job.fields["job"], job.fields["barrier"] = index, int(index == 0)
    return listed


def alternate_halves(jobs: Iterable[Job]) -> None:
    """Give each job the half of the table memories that the job before it on its cluster does not use."""
    halves: dict[int, int] = {}
    for job in jobs:
        cluster = job.fields["cluster"]
        job.fields["half"] = halves[cluster] = 1 - halves.get(cluster, 1)
