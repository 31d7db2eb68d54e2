"""What a layer becomes for the accelerator, before it has its place in external memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sw.program.jobs import Job, Shape
from sw.program.tables import Words


class TensorForm(Enum):
    """What a tensor in external memory is made of, and so how it lies there (hw.contract.memory)."""

    PIXELS = "a raw image"
    """uint8, as pack_image has them."""
    ACTIVATIONS = "int8 activations"
    """In planes of eight channels."""
    SUMS = "32-bit sums"
    """int32, each as four neighbouring channels of activations, least significant byte first."""
    GATES = "gates"
    """int8 from 0 up, each the low part of the multiplier in a REQUANTIZE row of another layer's tables."""


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
        input_shape: Of what the layer reads.
        output_shape: Of what it writes.
        segments: Table segments; a job's `table` counts among them.
        jobs: In the order in which they are given to the clusters.
        loads: None of a fused block, whose counters depend on the image.
        input_form: Of what the layer reads.
        output_form: Of what it writes.
        rows: Of a layer whose multipliers are gates: where each output channel's REQUANTIZE row lies, in words from the start
            of the segments, which lie end to end; none of other layers.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    segments: tuple[Words, ...]
    jobs: tuple[Job, ...]
    loads: Loads | None
    input_form: TensorForm = TensorForm.ACTIVATIONS
    output_form: TensorForm = TensorForm.ACTIVATIONS
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wiring:
    """Which tensors a layer reads and writes, where that is not the output of the layer before and one of its own.

    Args:
        source: Tensor that it reads.
        residual: Tensor that is added to its output.
        target: Tensor (name, channels) of which its output is a part.
        first_channel: Of the target, where the output begins.
        gated: Layer into whose tables the output goes, as gates.
    """

    source: str | None = None
    residual: str | None = None
    target: tuple[str, int] | None = None
    first_channel: int = 0
    gated: str | None = None
