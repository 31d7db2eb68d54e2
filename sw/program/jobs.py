"""Jobs: one group of a fused block, for a band of output rows, on one cluster."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.errors import ArchonError
from sw.program.tables import check_depth, slices_of, turns_of
from sw.spec import BlockSpec


@dataclass(frozen=True)
class Job:
    """A job and the fields of its descriptor (hw.contract.descriptor.JOB)."""

    block: str
    group: int
    fields: dict[str, int]

    @property
    def number(self) -> int:
        """Echoed in the job's report."""
        return self.fields["job"]


TablePlaces = tuple[tuple[int, int], ...]
"""Word address and words of the table segment of every group."""


@dataclass(frozen=True)
class BlockPlace:
    """A block's image sizes and its places in external memory."""

    height: int
    width: int
    input_address: int
    output_address: int
    tables: TablePlaces


def reduced(size: int, stride: int) -> int:
    """Output rows or columns of a "same" window: ceil(size / stride)."""
    return -(-size // stride)


def bands_of(spec: BlockSpec, output_height: int, config: ArchonConfig) -> list[tuple[int, int]]:
    """(first output row, rows) of every job of one group: more than one where clusters outnumber the groups."""
    count = min(max(1, config.clusters // spec.groups), output_height)
    edges = [index * output_height // count for index in range(count + 1)]
    return [(start, stop - start) for start, stop in itertools.pairwise(edges)]


def alternate_halves(jobs: Iterable[Job]) -> None:
    """Give each job the half of the table memories that the job before it on its cluster does not use."""
    halves: dict[int, int] = {}
    for job in jobs:
        cluster = job.fields["cluster"]
        job.fields["half"] = halves[cluster] = 1 - halves.get(cluster, 1)


def block_jobs(name: str, spec: BlockSpec, place: BlockPlace, config: ArchonConfig, first_job: int = 0) -> list[Job]:
    """The jobs of one block, numbered from `first_job`, still without halves; the first one waits for all jobs before it.

    Group g runs on cluster g modulo the clusters; where there are at least twice as many clusters as groups, a group's
    rows are split into bands of (almost) equal height, each on its own cluster.

    Raises:
        ArchonError: an activation, slice, or row memory is too small for the block.
    """
    bands = bands_of(spec, reduced(place.height, spec.stride), config)
    jobs: list[Job] = []
    for group in range(spec.groups):
        for index, band in enumerate(bands):
            fields = _fields(spec, place, group, band, config)
            fields["cluster"] = (group * len(bands) + index) % config.clusters
            fields["job"] = first_job + len(jobs)
            fields["barrier"] = int(not jobs)
            try:
                _check_depths(fields, config)
            except ArchonError as error:
                raise ArchonError(f"{name}, group {group}: {error}") from error
            jobs.append(Job(name, group, fields))
    return jobs


def _fields(spec: BlockSpec, place: BlockPlace, group: int, band: tuple[int, int], config: ArchonConfig) -> dict[str, int]:
    inputs = spec.in_channels // spec.groups
    first_plane, first_byte = divmod(group * inputs, CHANNELS_PER_WORD)
    row_start, rows = band
    reach = spec.kernel // 2
    input_start = max(0, spec.stride * row_start - reach)
    input_stop = min(place.height, spec.stride * (row_start + rows - 1) + reach + 1)
    output_width = reduced(place.width, spec.stride)
    plane_words = place.height * place.width
    return {
        "end": 0,
        "half": 0,
        "residual": int(spec.residual),
        "stride_two": int(spec.stride == 2),
        "input_height": place.height,
        "input_width": place.width,
        "input_row_start": input_start,
        "input_rows": input_stop - input_start,
        "output_width": output_width,
        "output_row_start": row_start,
        "output_rows": rows,
        "input_channels": inputs,
        "first_byte": first_byte,
        "planes": -(-(first_byte + inputs) // CHANNELS_PER_WORD),
        "turns": turns_of(inputs, config),
        "slices": slices_of(spec.expanded_channels // spec.groups, config),
        "output_channels": spec.out_channels // spec.groups,
        "segment": (input_stop - input_start) * place.width,
        "plane_words": plane_words,
        "first_center": (spec.stride * row_start - input_start) * place.width,
        "first_pixel": row_start * output_width,
        "input_address": place.input_address + first_plane * plane_words + input_start * place.width,
        "output_address": place.output_address,
        "residual_address": place.input_address if spec.residual else 0,
        "table_address": place.tables[group][0],
        "table_words": place.tables[group][1],
    }


def _check_depths(fields: dict[str, int], config: ArchonConfig) -> None:
    depths = config.depths
    check_depth("activation", fields["turns"] * fields["segment"], depths.activation)
    check_depth("row store", fields["input_width"] * fields["slices"], depths.row_store)
