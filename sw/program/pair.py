"""Fused pairs of pointwise layers: fused blocks whose window is its centre tap, with a ReLU behind them."""

from __future__ import annotations

from dataclasses import dataclass

from hw.contract.config import ArchonConfig
from sw.bundle.blocks import PointwisePair, pair_as_block, pair_inputs
from sw.program.blocks import block_jobs, group_work
from sw.program.parts import fitting_parts
from sw.program.plan import LayerPlan
from sw.spec import PointwisePairSpec


@dataclass(frozen=True)
class PlacedPair:
    """A pair of pointwise layers to run: its weights, the block that it is part of, and the size of its image."""

    name: str
    pair: PointwisePair
    spec: PointwisePairSpec
    height: int
    width: int

    def plan(self, config: ArchonConfig) -> LayerPlan:
        """Jobs and tables: a job a group of outputs or part of it; behind a shuffle each of them reads all input channels.

        Raises:
            ArchonError: the pair does not fit the configuration.
        """
        block, shape = pair_as_block(self.pair, self.spec)
        pixels, shared = self.height * self.width, pair_inputs(self.spec) > 1
        block, shape, parts, segments = fitting_parts(block, shape, pixels, config, self.name)
        cycles, slices = group_work(block, shape, config)
        jobs = block_jobs(
            self.name, shape, self.height, self.width, config, cycles, slices, relu=True, shared=shared, parts=parts
        )
        size = self.height, self.width
        source, output = (self.spec.in_channels, *size), (shape.out_channels, *size)
        return LayerPlan(self.name, source, output, segments, jobs, None)
