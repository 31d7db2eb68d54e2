"""Line coverage: a register for every branch of the Amaranth source, set when the branch runs.

Yosys writes a process for each signal, repeats every condition in each, and keeps no source line of a condition. So lines
are counted where they are written: in the statements of the elaborated units, before they become Verilog.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from amaranth.hdl import Fragment, Signal
from amaranth.hdl._ast import Statement, Switch

from sim.toolchain import REPOSITORY

PROBE = "probe__"
"""How the registers' names begin."""
RTL = "hw/rtl/"
"""The branches of files below this folder count."""


@dataclass(frozen=True)
class Branch:
    """The body of an If, Elif, Else, Case, Default or State.

    Args:
        file: Of its first line, relative to the repository.
        line: Number of that line, from 1.
        copy: Which of the branches that a module makes of the same line (in a loop, or by calling a function), from 0.
    """

    file: str
    line: int
    copy: int


def add_probes(fragment: Fragment, top: str) -> dict[str, Branch]:
    """Add a register to every branch of an elaborated component and those inside it.

    A register is 0 until a clock edge at which its branch's condition holds, and 1 from then on.

    Args:
        fragment: Changed in place.
        top: Name of the component; part of the registers' names.

    Returns:
        Name of a register to its branch.
    """
    branches: dict[str, Branch] = {}
    _add(fragment, top, branches)
    return branches


def relative(file: str) -> str:
    """A source file's path within the repository."""
    path = REPOSITORY / file
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else path.name


def _add(fragment: Fragment, top: str, branches: dict[str, Branch]) -> None:
    registers: dict[Branch, Signal] = {}

    def register(branch: Branch) -> Signal:
        if branch not in registers:
            registers[branch] = Signal(name=f"{PROBE}{top}__{len(branches)}", reset_less=True)
            branches[registers[branch].name] = branch
        return registers[branch]

    probing: list[Statement] = []
    for statements in fragment.statements.values():
        probing += _probing(statements, Counter(), register)
    if probing:
        fragment.add_statements("sync", *probing)
    for inner, _, _ in fragment.subfragments:
        _add(inner, top, branches)


def _probing(
    statements: Iterable[Statement], copies: Counter[tuple[str, int]], register: Callable[[Branch], Signal]
) -> list[Statement]:
    """The same branches, with nothing in them but the setting of their registers.

    An If has statements of several domains, and stands in each of them: the copies of a line are counted in each domain, so
    that the same branch gets the same register.
    """
    probing: list[Statement] = []
    for statement in statements:
        if not isinstance(statement, Switch):
            continue
        cases = []
        for patterns, body, place in statement.cases:
            inner = _probing(body, copies, register)
            file, line = (relative(place[0]), place[1]) if place else ("", 0)
            if len(body) and file.startswith(RTL):
                branch = Branch(file, line, copies[file, line])
                copies[file, line] += 1
                inner.insert(0, register(branch).eq(1))
            cases.append((patterns, inner, place))
        probing.append(Switch(statement.test, cases, src_loc=statement.src_loc))
    return probing
