"""Fused blocks: a table segment a group, a job a group and band of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from sw.bundle.network import FusedBlock
from sw.program.balance import MOST_BANDS, Load, expected_multiplications, shared_out
from sw.program.jobs import Job, Window, check_kernel, check_row_store, numbered, reduced, window_fields
from sw.program.parts import fitting_parts
from sw.program.plan import LayerPlan
from sw.program.tables import group_weights, slices_of, turns_of
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
        check_kernel(self.name, self.spec.kernel, config)
        stride, source = self.spec.stride, (self.spec.in_channels, self.height, self.width)
        output = (self.spec.out_channels, reduced(self.height, stride), reduced(self.width, stride))
        block, spec, parts, segments = fitting_parts(self.block, self.spec, math.prod(output[1:]), config, self.name)
        cycles, slices = group_work(block, spec, config)
        jobs = block_jobs(self.name, spec, self.height, self.width, config, cycles, slices, parts=parts)
        return LayerPlan(self.name, source, output, segments, jobs, None)


def group_work(block: FusedBlock, spec: BlockSpec, config: ArchonConfig) -> tuple[list[float], list[int]]:
    """Of each group: cycles of a pixel, about, as multipliers bind; slices of its channels, without those that are not used."""
    groups = [group_weights(block, spec, group) for group in range(spec.groups)]
    cycles = [expected_multiplications(weights, config) for weights in groups]
    return cycles, [slices_of(len(weights.used_channels), config) for weights in groups]


def block_jobs(
    name: str,
    spec: BlockSpec,
    height: int,
    width: int,
    config: ArchonConfig,
    cycles: Sequence[float],
    slices: Sequence[int],
    *,
    relu: bool = False,
    shared: bool = False,
    parts: int = 1,
) -> tuple[Job, ...]:
    """The jobs of one block, still without places and halves.

    A group's rows are cut into bands of (almost) equal height, each a job, where activations do not fit otherwise, or where
    the clusters are done sooner (sw.program.balance).

    Args:
        name: of the layer.
        spec: of the block.
        height: of the input image.
        width: of the input image.
        config: of the accelerator.
        cycles: of a pixel of each group, about.
        slices: of each group.
        relu: negative outputs become 0.
        shared: the groups read the same input channels.
        parts: neighbouring groups that are parts of the outputs of one, and read the same.

    Raises:
        ArchonError: an activation or row memory is too small for the block.
    """
    window = Window(height, width, spec.stride, spec.kernel, spec.kernel // 2, spec.kernel // 2)
    inputs = spec.in_channels // spec.groups
    loads = [Load(of_pixel, window.output_width) for of_pixel in cycles]
    try:
        check_row_store(width, max(slices), config)
        wanted = max(1, config.clusters // spec.groups)
        cuts = [window.fitting_bands(turns_of(inputs, config), wanted * times, config) for times in range(1, MOST_BANDS + 1)]
    except ArchonError as error:
        raise ArchonError(f"{name}, group 0: {error}") from error
    jobs: list[Job] = []
    for group, band, cluster in shared_out(loads, cuts, config.clusters):
        fields = window_fields(window, band, 0 if shared else group // parts * inputs, inputs, config) | {
            "relu": int(relu),
            "residual": int(spec.residual),
            "cluster": cluster,
            "slices": slices[group],
            "output_channels": spec.out_channels // spec.groups,
        }
        jobs.append(Job(name, group, group, fields))
    return numbered(jobs)
