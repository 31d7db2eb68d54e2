"""Points of an exploration: what is known of each accelerator, kept in files as it becomes known."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sim.report import write_whole


@dataclass(frozen=True)
class Point:
    """An accelerator.

    Args:
        name: What it is called.
        parameters: See sim.explore.space.
        refused: Why the network does not run on it; None where it does.
        cycles: Of an image, by the model; None until it is known, as all below.
        layers: Those of each layer.
        lut4: LUT4 sites, with carry and distributed RAM.
        dsp: Multipliers of 18 x 18.
        bram: Block RAMs of 18 kbit.
        ff: Flip-flops.
        measured: Cycles of that image on the RTL.
        measured_layers: Those of each layer.
        sources: What the numbers come from: the inputs' digests.
    """

    name: str
    parameters: dict[str, int]
    refused: str | None = None
    cycles: int | None = None
    layers: dict[str, int] = field(default_factory=dict)
    lut4: int | None = None
    dsp: int | None = None
    bram: int | None = None
    ff: int | None = None
    measured: int | None = None
    measured_layers: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """Of the model, as a share of what was measured."""
        return None if self.measured is None or self.cycles is None else self.cycles / self.measured - 1

    @property
    def worst(self) -> float | None:
        """The largest error of a layer, whatever its sign."""
        return max((abs(self.layers[name] / cycles - 1) for name, cycles in self.measured_layers.items()), default=None)

    @property
    def summary(self) -> str:
        """What is known, in a line."""
        if self.refused is not None:
            return f"{self.name}: does not fit, {self.refused}"
        facts = [f"{self.cycles:,} cycles by the model" if self.cycles is not None else ""]
        facts += [f"{self.lut4:,} LUT4, {self.dsp} DSP" if self.lut4 is not None else ""]
        facts += [f"{self.measured:,} cycles on the RTL" if self.measured is not None else ""]
        return f"{self.name}: {', '.join(filter(None, facts))}"

    @property
    def complete(self) -> bool:
        """Cycles and area are known."""
        return self.cycles is not None and self.lut4 is not None and self.dsp is not None


Cost = Callable[[Point], int]


def lut4_of(point: Point) -> int:
    """Of a complete point."""
    assert point.lut4 is not None
    return point.lut4


def dsp_of(point: Point) -> int:
    """Of a complete point."""
    assert point.dsp is not None
    return point.dsp


def pareto(points: Iterable[Point], cost: Cost) -> list[Point]:
    """Those that no other point beats in cycles without costing more, or in cost without taking longer; cheapest first."""
    front: list[Point] = []
    for point in sorted((point for point in points if point.complete), key=lambda point: (cost(point), point.cycles)):
        if not front or (point.cycles or 0) < (front[-1].cycles or 0):
            front.append(point)
    return front


class Journal:
    """The points of an exploration in explore.json and explore.csv, written anew with every change.

    Args:
        folder: Of the files.
        about: What all points have in common, for the file.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self._folder, self._about = folder, about
        self.points: list[Point] = []
        self._before: dict[str, Point] = {}
        path = folder / "explore.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            self._before = {_key(point["parameters"]): Point(**point) for point in found["points"]}

    @property
    def files(self) -> list[Path]:
        """Of the journal."""
        return [self._folder / "explore.json", self._folder / "explore.csv"]

    def begin(self, points: Sequence[Point]) -> None:
        """Take up points: what is known of them from before is kept as far as it comes from the same sources."""
        self.points = [self._kept(point) for point in points]
        self._write()

    def put(self, index: int, point: Point) -> None:
        """Replace a point by what is known now."""
        self.points[index] = point
        self._write()

    def _kept(self, point: Point) -> Point:
        before = self._before.get(_key(point.parameters), point)
        same = {name for name, digest in point.sources.items() if before.sources.get(name) == digest}
        kept = {name: getattr(before, name) for source in same for name in OF_SOURCE[source]}
        return replace(point, **kept)

    def _write(self) -> None:
        facts = {**self._about, "points": [asdict(point) for point in self.points]}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.files[0], lambda beside: beside.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8"))
        write_whole(self.files[1], self._write_rows)

    def _write_rows(self, path: Path) -> None:
        names = sorted({name for point in self.points for name in point.parameters})
        plain = ("refused", "cycles", "lut4", "dsp", "bram", "ff", "measured", "error", "worst")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["name", *names, *plain])
            for point in self.points:
                facts = [getattr(point, name) for name in plain]
                writer.writerow([point.name, *(point.parameters[name] for name in names), *facts])


OF_SOURCE = {
    "model": ("refused", "cycles", "layers"),
    "area": ("lut4", "dsp", "bram", "ff"),
    "rtl": ("measured", "measured_layers"),
}
"""Which numbers of a point come from which source."""


def _key(parameters: dict[str, int]) -> str:
    return json.dumps(parameters, sort_keys=True)
