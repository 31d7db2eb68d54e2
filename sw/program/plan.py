"""What a layer becomes for the accelerator, before it has its place in external memory."""

from __future__ import annotations

from dataclasses import dataclass

from sw.program.jobs import Job, Shape
from sw.program.tables import Words


@dataclass(frozen=True)
class Loads:
    """What it takes to load a fixed layer's weights into accumulators, all jobs together: fields of a job's report."""

    additions: int
    steps: int

    def __add__(self, other: Loads) -> Loads:
        return Loads(self.additions + other.additions, self.steps + other.steps)

    def __mul__(self, times: int) -> Loads:
        return Loads(self.additions * times, self.steps * times)


@dataclass(frozen=True)
class LayerPlan:
    """A layer's table segments and jobs, and the shapes of its tensors (channels, height, width).

    Args:
        name: Of the layer and of its output.
        input_shape: int8.
        output_shape: int8, or int32 where `raw` is set.
        raw: Whether the output is 32-bit integers.
        segments: Table segments; a job's `table` counts among them.
        jobs: In the order in which they are given to the clusters.
        loads: Of a fixed layer; None of a fused block, whose counters depend on the image.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    raw: bool
    segments: tuple[Words, ...]
    jobs: tuple[Job, ...]
    loads: Loads | None
