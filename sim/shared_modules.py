"""Verilog in which equal modules are written once.

Amaranth exports every instance as a module of its own, so 32 equal lanes are 32 modules; synthesis and simulation would
translate each. Sharing them changes no behaviour: instance names, and so hierarchical names, stay.
"""

import re
from collections.abc import Callable

_MODULE = re.compile(r"^module (?P<name>\\\S+ |\w+\s*)(?P<body>\(.*?^endmodule)$", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"(?m)^(?P<indent> +)(?P<name>\\\S+ |\w+)(?= +\S+ +\()")
_SERIAL = re.compile(r"(?<=dump_module\$)\d+")


def share_modules(verilog: str) -> str:
    """The same design with one module for each set of equal ones.

    Two modules are equal where their text is, apart from their own name, serial numbers that the Verilog writer counts
    through the file, and the names of instantiated modules that are themselves equal. The first name is kept.
    """
    bodies = {match["name"].strip(): match["body"] for match in _MODULE.finditer(verilog)}
    keys: dict[str, str] = {}
    open_modules: set[str] = set()

    def key(name: str) -> str:
        """What equal modules have in common: their text, with children by key."""
        if name not in keys:
            if name in open_modules:
                raise ValueError(f"expected modules without recursion, {name} instantiates itself")
            open_modules.add(name)
            keys[name] = _SERIAL.sub("", _rename_instances(bodies[name], bodies, lambda child: f"<{id_of(key(child))}>"))
        return keys[name]

    identities: dict[str, int] = {}

    def id_of(text: str) -> int:
        return identities.setdefault(text, len(identities))

    first: dict[str, str] = {}
    for name in bodies:
        first.setdefault(key(name), name)

    def rewrite(match: re.Match[str]) -> str:
        name = match["name"].strip()
        if first[key(name)] != name:
            return ""
        body = _rename_instances(match["body"], bodies, lambda child: first[key(child)])
        return f"module {match['name']}{body}"

    return re.sub(r"\n{3,}", "\n\n", _MODULE.sub(rewrite, verilog))


def _rename_instances(body: str, modules: dict[str, str], name_of: Callable[[str], str]) -> str:
    """A module's text with the types of its instances renamed; anything that is no known module stays."""

    def rename(match: re.Match[str]) -> str:
        child = match["name"].strip()
        if child not in modules:
            return match[0]
        space = " " if match["name"].endswith(" ") else ""
        return f"{match['indent']}{name_of(child)}{space}"

    return _INSTANCE.sub(rename, body)
