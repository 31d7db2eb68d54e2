"""Collecting coverage while tests run: every run of a simulation leaves a record of what it reached."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sim.coverage.points import Place, Points, sidecar
from sim.coverage.records import Reached, Record
from tb.coverage import FOLDER_VARIABLE, SAMPLES_FILE, Sample

DATA_FILE = "coverage.dat"
"""What a simulation with coverage leaves in its working directory."""
POINTS_FILE = "points.json"
"""The points of a model, in its folder."""

_ENTRY = re.compile(r"^C '(?P<facts>[^']*)' (?P<count>\d+)$")
_TOGGLED = re.compile(r"^.*?(?:\[(?P<bit>\d+)\])?:(?P<way>0->1|1->0)$")


def collecting() -> Path | None:
    """The folder in which records are collected, if they are."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else None


def points_of(sources: Sequence[Path]) -> dict[str, Path]:
    """The sources of a design that count, by file name, each with the file of its points; none where nothing is collected."""
    if not collecting():
        return {}
    return {source.name: sidecar(source) for source in sources if sidecar(source).is_file()}


def keep_points(sources: Sequence[Path], directory: Path) -> None:
    """Put the points of a design's source beside its model."""
    for points in points_of(sources).values():
        shutil.copyfile(points, directory / POINTS_FILE)


def forget(directory: Path) -> None:
    """Remove what an earlier run left."""
    for name in (DATA_FILE, SAMPLES_FILE):
        (directory / name).unlink(missing_ok=True)


def collect(model: Path, directory: Path, name: str) -> None:
    """Add the record of a run that passed, if records are collected.

    Args:
        model: Folder of the model.
        directory: The run's.
        name: Of the run, for the reader; unique together with the model's name.
    """
    folder = collecting()
    if folder is None:
        return
    record = Record(name)
    points, data = model / POINTS_FILE, directory / DATA_FILE
    if points.is_file() and data.is_file():
        record.reached = reached(Points.read(points), toggles(data))
    samples = directory / SAMPLES_FILE
    if samples.is_file():
        record.samples = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    record.write(folder / f"{model.name}-{name}.json")


def collect_samples(samples: list[Sample], name: str) -> None:
    """Add a record of samples alone, if records are collected; the name as of collect."""
    folder = collecting()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        Record(name, samples=samples).write(folder / f"samples-{name}.json")


def toggles(data: Path) -> Iterator[tuple[int, int, str, int]]:
    """Verilog line, bit, way ("0->1" or "1->0") and count of every entry of a file that Verilator wrote."""
    for line in data.read_text(encoding="utf-8", errors="replace").splitlines():
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        facts = dict(part.split("\x02", 1) for part in entry["facts"].split("\x01") if part)
        if facts.get("t") == "toggle" and (found := _TOGGLED.match(facts["o"])):
            yield int(facts["l"]), int(found["bit"] or 0), found["way"], int(entry["count"])


def reached(points: Points, entries: Iterator[tuple[int, int, str, int]]) -> dict[Place, Reached]:
    """What a run reached of each of the points."""
    found: dict[Place, Reached] = {}
    for place, bits in points.wires.values():
        found.setdefault(place, Reached()).bits |= sum(1 << bit for bit in bits)
    for line, bit, way, count in entries:
        if line not in points.wires or not count:
            continue
        place, bits = points.wires[line]
        if bit in bits:
            if way == "0->1":
                found[place].rose |= 1 << bit
            else:
                found[place].fell |= 1 << bit
    return found
