"""Fused blocks: a table segment a group, a job a group and band of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from sw.bundle.network import FusedBlock
from sw.program.jobs import Job, Window, check_row_store, numbered, reduced, window_fields
from sw.program.plan import LayerPlan
from sw.program.tables import slices_of, table_segment, turns_of
from sw.spec import BlockSpec


@dataclass(frozen=True)
class PlacedBlock:
    """A block to run: its weights, its shape and the size of its input image."""

    name: str
    block: FusedBlock
    spec: BlockSpec
    height: int
    width: int

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """Jobs and tables.

        Raises:
            ArchonError: the block does not fit the configuration.
        """
        spec = self.spec
        output = (spec.out_channels, reduced(self.height, spec.stride), reduced(self.width, spec.stride))
        segments = [
            table_segment(self.block, spec, group, math.prod(output[1:]), config, self.name) for group in range(spec.groups)
        ]
        jobs = block_jobs(self.name, spec, self.height, self.width, config)
        return LayerPlan(self.name, (spec.in_channels, self.height, self.width), output, tuple(segments), jobs, None)


def block_jobs(
    name: str, spec: BlockSpec, height: int, width: int, config: ArchonConfig, *, relu: bool = False, shared: bool = False
) -> tuple[Job, ...]:
    """The jobs of one block, still without places and halves.

    Group g runs on cluster g modulo the clusters; where there are at least twice as many clusters as groups, or where
    activations do not fit otherwise, a group's rows are split into bands of (almost) equal height, each a job. With `relu`
    negative outputs become 0; with `shared` the groups read the same input channels.

    Raises:
        ArchonError: an activation or row memory is too small for the block.
    """
    window = Window(height, width, spec.stride, spec.kernel // 2, spec.kernel // 2)
    inputs, slices = spec.in_channels // spec.groups, slices_of(spec.expanded_channels // spec.groups, config)
    jobs: list[Job] = []
    for group in range(spec.groups):
        try:
            check_row_store(width, slices, config)
            bands = window.fitting_bands(turns_of(inputs, config), max(1, config.clusters // spec.groups), config)
        except ArchonError as error:
            raise ArchonError(f"{name}, group {group}: {error}") from error
        for index, band in enumerate(bands):
            fields = window_fields(window, band, 0 if shared else group * inputs, inputs, config) | {
                "relu": int(relu),
                "residual": int(spec.residual),
                "cluster": (group * len(bands) + index) % config.clusters,
                "slices": slices,
                "output_channels": spec.out_channels // spec.groups,
            }
            jobs.append(Job(name, group, group, fields))
    return numbered(jobs)
