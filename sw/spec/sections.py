"""What all sections of a network description have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hw.contract.config import DIMENSION_BITS
from hw.contract.taps import KERNELS

LARGEST_DIMENSION = (1 << DIMENSION_BITS) - 1
"""Rows, columns, and input channels of one group, as a job's descriptor can name them."""

Positive = Annotated[int, Field(gt=0)]
Dimension = Annotated[int, Field(gt=0, le=LARGEST_DIMENSION)]


class Section(BaseModel):
    """A table of the TOML file: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def check_window(where: str, kernel: int, stride: int, kernels: tuple[int, ...] = KERNELS) -> None:
    """Refuse kernels and strides that cannot be run."""
    if kernel not in kernels:
        raise ValueError(f"{where}: kernel must be {' or '.join(map(str, kernels))}, got {kernel}")
    if stride not in (1, 2):
        raise ValueError(f"{where}: stride must be 1 or 2, got {stride}")


def check_groups(where: str, groups: int, **channels: int) -> None:
    """Refuse channels that cannot be shared out among the groups."""
    for noun, count in channels.items():
        if count % groups:
            raise ValueError(f"{where}: {noun} {count} must be divisible by groups {groups}")


def check_inputs(where: str, groups: int, **channels: int) -> None:
    """Refuse layers that read more channels in a group than a job can."""
    for noun, count in channels.items():
        if count // groups > LARGEST_DIMENSION:
            raise ValueError(f"{where}: {noun} of one group must be at most {LARGEST_DIMENSION}, got {count // groups}")
