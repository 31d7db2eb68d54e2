"""What is measured of one setting, and the table of all of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hw.contract.errors import ArchonError
from sw.arrays import csv_content, write_whole

POINTS, TABLE = "survivors.json", "survivors.csv"
DECIDING = ("setting", "raised_first", "raised_second", "weights", "images", "preset", "latency", "cycles_images")
"""What decides on everything else that is measured."""


class Point(BaseModel):
    """A network, its limits, and what came of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: str
    """FIRST/SECOND, the limits that it was trained with, and + what else was changed (sw.survivors.settings)."""
    raised_first: float
    """By how much thresholds were raised afterwards, in levels of r1."""
    raised_second: float
    weights: str
    """SHA-256 of weights.npz."""
    images: int
    """Of the test set, for accuracy and survivors."""
    accuracy: float
    """In integers, 0 to 1."""
    survivors_first: float
    """Mean over the blocks of the share that survives."""
    survivors_second: float
    preset: str
    latency: int
    """Of memory, in cycles."""
    cycles_images: int
    """For cycles: the first so many test images."""
    cycles: float
    """Of an image, by the model of cycles (sw.cycles)."""
    block_cycles: float
    """Of these, those of the fused layers."""
    epochs: int
    """For which it was trained with its limits."""

    @property
    def is_raised(self) -> bool:
        """Whether the knob was turned."""
        return (self.raised_first, self.raised_second) != (0, 0)


def key_of(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides on a point, from its members by name."""
    return tuple(values[name] for name in DECIDING)


def read_points(folder: Path) -> list[Point]:
    """Those that `write_points` wrote to a folder; none where there are none.

    Raises:
        ArchonError: something else is in the file.
    """
    path = folder / POINTS
    if not path.is_file():
        return []
    try:
        return [Point.model_validate(item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected what archon survivors writes, got something else; delete it") from error


def write_points(folder: Path, points: list[Point]) -> None:
    """Write POINTS and TABLE."""
    rows = [point.model_dump() for point in points]
    write_whole(folder / POINTS, (json.dumps(rows, indent=2) + "\n").encode())
    write_whole(folder / TABLE, csv_content(rows, list(Point.model_fields)))
