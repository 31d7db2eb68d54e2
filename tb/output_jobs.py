"""Random jobs and REQUANTIZE tables for the units that handle a job's outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.numerics import MULTIPLIER_BITS, MULTIPLIER_SHIFT_MAX, OUTPUT_ACCUMULATOR_BITS, signed_range

WORDS = 1 << 14
"""Words of external memory that addresses of outputs and residuals stay in."""

PLANES = 8
"""Planes of an output tensor."""


@dataclass(frozen=True)
class OutputJob:
    """One job as its outputs see it; `table` holds the columns of the REQUANTIZE rows in half `half` of the table."""

    rows: int
    width: int
    channels: int
    residual: bool
    first_pixel: int
    output_address: int
    residual_address: int
    table: dict[str, NDArray[np.int64]]
    half: int
    relu: bool = False
    raw: bool = False
    depthwise: bool = False
    summed: bool = False
    sum_first: bool = False
    sum_last: bool = False

    @property
    def pixels(self) -> int:
        """Output pixels of the job."""
        return int(self.sum_last) if self.summed else self.rows * self.width

    def job(self) -> int:
        """The packed job; fields that outputs do not need are zero."""
        values = JOB.unpack(0) | {"output_rows": self.rows, "output_width": self.width, "output_channels": self.channels}
        if self.depthwise:
            values |= {"input_channels": self.channels, "output_channels": -(-self.channels // 8)}
        values |= {"residual": int(self.residual), "first_pixel": self.first_pixel, "half": self.half}
        values |= {name: int(getattr(self, name)) for name in ("relu", "raw", "depthwise", "summed", "sum_first", "sum_last")}
        return JOB.pack(values | {"output_address": self.output_address, "residual_address": self.residual_address})

    def places(self, base: int) -> Iterator[tuple[int, int, int]]:
        """(channel, word address, byte) of every output in the tensor at `base`, in the order of the outputs."""
        for pixel in range(self.pixels):
            for channel in range(self.channels):
                plane = int(self.table["plane"][channel])
                yield channel, base + plane + self.first_pixel + pixel, int(self.table["byte"][channel])


def random_output_job(
    config: ArchonConfig,
    random: np.random.Generator,
    *,
    residual: bool,
    relu: bool = False,
    raw: bool = False,
    channels: int | None = None,
    **others: bool,
) -> OutputJob:
    """Any size of a few hundred outputs; half of the rescalings are extreme, the other half give usual activations.

    Args:
        config: Of the hardware.
        random: Makes all choices.
        residual: Of the job.
        relu: Of the job.
        raw: Of the job.
        channels: Of the output, at most 20 by default.
        others: Its fields depthwise, summed, sum_first and sum_last.
    """
    channels = channels or int(random.integers(1, min(config.depths.output, 20) + 1))
    low, high = signed_range(OUTPUT_ACCUMULATOR_BITS - 2)
    small = random.random(channels) < 0.5
    table = {
        "bias": np.where(small, random.integers(-500, 500, channels), random.integers(low, high + 1, channels)),
        "multiplier": np.where(
            small, 1 << random.integers(12, MULTIPLIER_BITS, channels), random.integers(0, 1 << MULTIPLIER_BITS, channels)
        ),
        "shift": np.where(small, random.integers(13, 20, channels), random.integers(0, MULTIPLIER_SHIFT_MAX + 1, channels)),
        "byte": random.integers(0, 8, channels),
        # Neighbouring channels often share a plane, as in a shuffled tensor.
        "plane": np.sort(random.integers(0, PLANES, channels) * 256)[:: random.choice([-1, 1])],
    }
    if raw:
        table |= {"multiplier": np.ones_like(table["bias"]), "shift": np.zeros_like(table["bias"])}
        table["byte"] = table["byte"] // 4 * 4
    base, residual_base = (int(random.integers(0, WORDS - PLANES * 256 - 256)) for _ in range(2))
    rows, width, first = (int(random.integers(1, top)) for top in (6, 9, 100))
    half = int(random.integers(2))
    return OutputJob(rows, width, channels, residual, first, base, residual_base, table, half, relu, raw, **others)


def random_sums(job: OutputJob, random: np.random.Generator) -> NDArray[np.int64]:
    """(output pixels, channels) sums that stay within 32 bits with the bias: extremes, and small ones full of ties."""
    shape = (job.pixels, job.channels)
    low, high = signed_range(OUTPUT_ACCUMULATOR_BITS - 2)
    small = np.abs(job.table["bias"]) < 500
    return np.where(small, random.integers(-800, 801, shape), random.integers(low, high + 1, shape))
