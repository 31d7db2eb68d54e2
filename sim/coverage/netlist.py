"""Toggle coverage: which wires of generated Verilog stand for something that a unit computes, so that their bits count.

A unit's registers, and the named signals and outputs that it computes, count once. Not counted are: inputs and what comes
from the units inside (they count where they are computed), other names of a bit that counts already, constants, the
expressions between named signals, and the words of memories.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sim.coverage.probes import RTL, relative

Bit = tuple[str, int]
"""Wire and position in it."""

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(rf"^module (?P<name>{_NAME}) *\(")
_DECLARATION = re.compile(
    rf"^  (?P<kind>input|output|wire|reg|integer) (?:signed )?(?:\[(?P<high>\d+):\d+\] )?(?P<name>{_NAME})(?P<rest>[^;]*);$"
)
_SOURCE = re.compile(r'^ *\(\* src = "(?P<file>[^"]+?):(?P<line>\d+)(?:\.[^"]*)?" \*\)$')
_ASSIGN = re.compile(r"^  assign (?P<target>.+?) = (?P<value>.+);$")
_INSTANCE = re.compile(rf"^  (?P<module>{_NAME}) *(?P<name>{_NAME}) *\($")
_PORT = re.compile(r"^    \.(?P<port>\\\S+ |\w+) *\((?P<value>.*)\),?$")
_ITEM = re.compile(rf" *(?:(?P<size>\d+)'[a-z]+[0-9a-fx]+|(?P<name>{_NAME})(?: *\[(?P<high>\d+)(?::(?P<low>\d+))?\])?) *")

CONSTANT: Bit = ("", 0)


@dataclass
class Wire:
    """A declared wire: its bits, the Verilog lines (from 1) that declare it, and where it comes from in the Amaranth source."""

    bits: int
    lines: list[int]
    file: str
    line: int
    memory: bool = False


@dataclass
class VerilogModule:
    """What a module declares and connects.

    Args:
        name: As in the text.
        unit: The file of hw/rtl, without its ending, whose class it is made of; of Amaranth's own components, that of the
            module around.
        wires: By name.
        inputs: Names of input ports.
        outputs: Names of output ports.
        aliases: Bits that are other bits, or CONSTANT.
        instances: (module, port, connected bits).
    """

    name: str
    unit: str
    wires: dict[str, Wire] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    aliases: dict[Bit, Bit] = field(default_factory=dict)
    instances: list[tuple[str, str, list[Bit]]] = field(default_factory=list)

    def expression(self, text: str) -> list[Bit] | None:
        """The bits of names, slices, constants and concatenations, least significant first; None where there is more."""
        text = text.strip()
        if text.startswith("{") and text.endswith("}"):
            parts = [self.expression(part) for part in text[1:-1].split(",")]
            return None if None in parts else [bit for part in reversed(parts) for bit in part or []]
        item = _ITEM.fullmatch(f"{text} ")
        if item is None:
            return None
        if item["size"]:
            return [CONSTANT] * int(item["size"])
        name = item["name"].strip()
        if name not in self.wires or self.wires[name].memory:
            return None
        high = int(item["high"]) if item["high"] else self.wires[name].bits - 1
        low = int(item["low"]) if item["low"] else high if item["high"] else 0
        return [(name, bit) for bit in range(low, high + 1)]

    def root(self, bit: Bit) -> Bit:
        """The bit that another one stands for."""
        while bit in self.aliases:
            bit = self.aliases[bit]
        return bit


def parse(verilog: str) -> list[VerilogModule]:
    """The modules of a text in the form in which Yosys writes it, with its src attributes."""
    modules: list[VerilogModule] = []
    place, instance = ("", 0), ""
    for number, line in enumerate(verilog.splitlines(), start=1):
        if source := _SOURCE.match(line):
            place = relative(source["file"]), int(source["line"])
        elif found := _MODULE.match(line):
            modules.append(VerilogModule(found["name"].strip(), _unit(found["name"].strip(), place[0], modules)))
        elif found := _DECLARATION.match(line):
            _declare(modules[-1], found, number, place)
        elif found := _ASSIGN.match(line):
            _assign(modules[-1], found["target"], found["value"])
        elif found := _INSTANCE.match(line):
            instance = found["module"].strip()
        elif found := _PORT.match(line):
            connected = modules[-1].expression(found["value"])
            modules[-1].instances.append((instance, found["port"].strip(), connected or []))
    return modules


def counted(modules: list[VerilogModule]) -> Iterator[tuple[VerilogModule, str, int]]:
    """Every bit that counts, once: module, wire and position."""
    outputs = {module.name: module.outputs for module in modules}
    for module in modules:
        elsewhere = {
            module.root(bit) for inner, port, bits in module.instances if port in outputs.get(inner, set()) for bit in bits
        }
        chosen: dict[Bit, Bit] = {}
        for name, wire in module.wires.items():
            if wire.memory or _anonymous(name):
                continue
            for bit in range(wire.bits):
                root = module.root((name, bit))
                if root == CONSTANT or root in elsewhere or root[0] in module.inputs or module.wires[root[0]].memory:
                    continue
                chosen[root] = min(chosen.get(root, (name, bit)), (name, bit), key=lambda item: _rank(module, item))
        yield from sorted(((module, name, bit) for name, bit in chosen.values()), key=lambda item: item[1:])


def _rank(module: VerilogModule, bit: Bit) -> tuple[bool, bool, str, int]:
    """Lowest for the name to report: one of the unit's own file, a field rather than the whole, else the first in order."""
    name, position = bit
    return Path(module.wires[name].file).stem != module.unit, "." not in name, name, position


def _unit(name: str, file: str, modules: list[VerilogModule]) -> str:
    if not file.startswith(RTL):
        around = name.rpartition(".")[0].removeprefix("\\")
        for module in modules:
            if module.name.removeprefix("\\") == around:
                return module.unit
    return Path(file).stem


def _anonymous(name: str) -> bool:
    """Named by Amaranth or Yosys."""
    return name.startswith("\\$") or re.fullmatch(r"_\d+_", name) is not None


def _declare(module: VerilogModule, found: re.Match[str], number: int, place: tuple[str, int]) -> None:
    name = found["name"].strip()
    if found["kind"] == "input":
        module.inputs.add(name)
    elif found["kind"] == "output":
        module.outputs.add(name)
    if name in module.wires:
        module.wires[name].lines.append(number)
    else:
        bits = int(found["high"]) + 1 if found["high"] else 1
        memory = found["rest"].lstrip().startswith("[") or found["kind"] == "integer"
        module.wires[name] = Wire(bits, [number], *place, memory=memory)


def _assign(module: VerilogModule, target: str, value: str) -> None:
    targets, values = module.expression(target), module.expression(value)
    if targets is None or values is None:
        return
    values += [CONSTANT] * (len(targets) - len(values))  # Verilog extends with zeros
    for left, right in zip(targets, values, strict=False):
        if left != right:
            module.aliases[left] = right
