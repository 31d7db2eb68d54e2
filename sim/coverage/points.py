"""What is counted in a design: its points, by the Verilog line at which Verilator counts them."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from sim.coverage.netlist import VerilogModule, counted, parse
from sim.coverage.probes import Branch, add_probes

MOST_BITS = 4096
"""Wires of more bits are not counted; none is as wide."""

_OFF, _ON = "/*verilator coverage_off*/", "/*verilator coverage_on*/"
_MADE_UNIQUE = re.compile(r"\$\d+(?=$|[.[])")


@dataclass(frozen=True, order=True)
class Place:
    """A branch, or a signal, of a unit.

    Args:
        unit: File of hw/rtl without its ending.
        name: The signal's name; empty for a branch.
        file: Source, relative to the repository.
        line: In it.
        copy: Which of those that a module makes of the same line, from 0.
    """

    unit: str
    name: str
    file: str
    line: int
    copy: int


@dataclass
class Points:
    """The points of a Verilog text.

    Args:
        wires: Line of a declaration, from 1, to what it declares and which of its bits count.
    """

    wires: dict[int, tuple[Place, list[int]]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """As JSON."""
        facts = [{"verilog_line": line, **vars(place), "bits": bits} for line, (place, bits) in self.wires.items()]
        path.write_text(json.dumps(facts), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> "Points":
        """What was written."""
        wires = {}
        for fact in json.loads(path.read_text(encoding="utf-8")):
            line, bits = fact.pop("verilog_line"), fact.pop("bits")
            wires[line] = (Place(**fact), bits)
        return Points(wires)


def sidecar(source: Path) -> Path:
    """Where the points of a Verilog file lie."""
    return source.with_suffix(".points.json")


def probed_text(component: wiring.Component, name: str) -> tuple[str, dict[str, Branch]]:
    """A component's Verilog with source lines and a register for every branch, and the branches by register."""
    fragment = Fragment.get(component, None)
    branches = add_probes(fragment, name)
    ports: dict[str, Any] = {}
    for path, member, value in component.signature.flatten(component):
        signal = value.as_value() if hasattr(value, "as_value") else value
        ports["__".join(map(str, path))] = (signal, _direction(member))
    return verilog.convert_fragment(fragment, ports, name)[0], branches


def instrumented(text: str, branches: dict[str, Branch]) -> tuple[str, Points]:
    """The text with counting switched off for whatever does not count, and its points."""
    modules = parse(text)
    bits: dict[tuple[str, str], list[int]] = {}
    for module, wire, bit in counted(modules):
        bits.setdefault((module.name, wire), []).append(bit)
    points = Points()
    for module in modules:
        places = dict(_places(module, bits, branches))
        for wire, place in places.items():
            for line in module.wires[wire].lines:
                points.wires[line] = (place, bits[module.name, wire])
    declared = {line for module in modules for wire in module.wires.values() for line in wire.lines}
    silent = declared - set(points.wires)
    lines = [f"{_OFF}{line}{_ON}" if number in silent else line for number, line in enumerate(text.splitlines(), start=1)]
    return "\n".join(lines) + "\n", points


def _places(
    module: VerilogModule, bits: dict[tuple[str, str], list[int]], branches: dict[str, Branch]
) -> Iterator[tuple[str, Place]]:
    """What the counted wires of a module are; signals of the same name and line are numbered in the order of the text."""
    copies: dict[tuple[str, str, int], int] = {}
    for name in _natural(wire for wire in module.wires if (module.name, wire) in bits):
        if name in branches:
            branch = branches[name]
            yield name, Place(module.unit, "", branch.file, branch.line, branch.copy)
            continue
        wire = module.wires[name]
        plain = _MADE_UNIQUE.sub("", name.removeprefix("\\"))
        copy = copies.get((plain, wire.file, wire.line), 0)
        copies[plain, wire.file, wire.line] = copy + 1
        yield name, Place(module.unit, plain, wire.file, wire.line, copy)


def _natural(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def _direction(member: wiring.Member) -> Any:
    from amaranth.hdl._ir import PortDirection  # noqa: PLC0415

    return PortDirection.Input if member.flow == wiring.In else PortDirection.Output
