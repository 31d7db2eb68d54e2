"""Area of many similar designs: a module is synthesised once, whatever designs it is in.

Yosys keeps the hierarchy (sim.synthesis), so that what a module is made of depends on its own text alone, and on the ports of
the modules in it. Those that are known already take part as black boxes.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from sim.report import write_whole
from sim.synthesis import TARGETS, Area, module_areas

_MODULE = re.compile(r"^module (?P<name>\\?\S+?) ?\(.*?^endmodule$", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (?P<module>\\\S+|[A-Za-z_]\w*) +(?:\\\S+|\w+) +\($", re.MULTILINE)
_PORT = re.compile(r"^  (?:input|output) .*;$", re.MULTILINE)
_NUMBER = re.compile(r"\$\d+")


@dataclass(frozen=True)
class Module:
    """A module of a design.

    Args:
        name: Of the module.
        text: Of the module.
        inside: How many instances of which modules it has.
        key: Of what its cells depend on.
    """

    name: str
    text: str
    inside: Mapping[str, int]
    key: str

    @property
    def black_box(self) -> str:
        """Its ports alone."""
        return "\n".join(["(* blackbox *)", self.text[: self.text.index(";") + 1], *_PORT.findall(self.text), "endmodule"])


@dataclass(frozen=True)
class Hierarchy:
    """The modules of a design, by name, and its top module."""

    modules: Mapping[str, Module]
    toplevel: str

    @cached_property
    def instances(self) -> Counter[str]:
        """Of every module in the design."""
        found: Counter[str] = Counter()

        def count(name: str, times: int) -> None:
            found[name] += times
            for inside, number in self.modules[name].inside.items():
                count(inside, times * number)

        count(self.toplevel, 1)
        return found

    def around(self, chosen: set[str]) -> set[str]:
        """The chosen modules and those that they are in, up to the top."""

        def holds(name: str) -> bool:
            inside = [holds(inner) for inner in self.modules[name].inside]
            if name in chosen or any(inside):
                found.add(name)
            return name in found

        found: set[str] = set()
        holds(self.toplevel)
        return found


def read_hierarchy(verilog: str, toplevel: str) -> Hierarchy:
    """Take a design apart that Amaranth has written."""
    texts = {match["name"].removeprefix("\\"): match[0] for match in _MODULE.finditer(verilog)}
    modules = {}
    for name, text in texts.items():
        inside = Counter(found for match in _INSTANCE.finditer(text) if (found := match["module"].removeprefix("\\")) in texts)
        ports = "".join("".join(_PORT.findall(texts[inner])) for inner in sorted(inside))
        modules[name] = Module(name, text, inside, _key(name, text + ports))
    return Hierarchy(modules, toplevel)


def _key(name: str, text: str) -> str:
    """The same for modules that differ only in their names and in the numbers that Amaranth gives its signals."""
    numbers: dict[str, str] = {}
    plain = _NUMBER.sub(lambda match: numbers.setdefault(match[0], f"${len(numbers)}"), text.replace(name, "module_name"))
    recipe = json.dumps(TARGETS, sort_keys=True)
    return hashlib.sha256((plain + recipe).encode()).hexdigest()[:16]


class AreaCache:
    """Areas of modules, kept in a file.

    Args:
        path: Of the file.
        folder: Where Yosys works.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._areas: dict[str, Area] = {}
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            self._areas = {key: Area(**area) for key, area in found.items()}

    def missing(self, design: Hierarchy) -> set[str]:
        """Modules of a design to synthesise: one of each kind that is not known."""
        found: dict[str, str] = {}
        for name in design.instances:
            key = design.modules[name].key
            if key not in self._areas:
                found.setdefault(key, name)
        return set(found.values())

    def area(self, design: Hierarchy) -> Area:
        """The area of a design, after synthesis of what is not known of it.

        Raises:
            ArchonError: no Yosys in the environment.
            SynthesisFailedError: Yosys refused the design.
        """
        if missing := self.missing(design):
            self._synthesise(design, design.around(missing))
        areas = (self._areas[design.modules[name].key] * count for name, count in design.instances.items())
        return sum(areas, Area())

    def _synthesise(self, design: Hierarchy, whole: set[str]) -> None:
        """Synthesise some modules, up to the top, with the others as black boxes."""
        inside = {inner for name in whole for inner in design.modules[name].inside} - whole
        text = [design.modules[name].text for name in design.modules if name in whole]
        text += [design.modules[name].black_box for name in sorted(inside)]
        found = module_areas("\n".join(text), design.toplevel, self._folder)
        # Mapping to LUTs depends on the order of cells, by up to a fifth of a module's LUTs: what is known stays as it is.
        self._areas = {design.modules[name].key: area for name, area in found.items() if name in whole} | self._areas
        kept = json.dumps({key: asdict(area) for key, area in self._areas.items()}, indent=1)
        write_whole(self._path, lambda beside: beside.write_text(kept + "\n", encoding="utf-8"))
