"""The coverage of the units, with every hole, and of the crosses of tb.coverage."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from sim.coverage.exclusions import Exclusions
from sim.coverage.points import Place
from sim.coverage.records import Reached
from sim.toolchain import REPOSITORY
from tb.coverage import Cross, Sample, hit_points

LEAST = {"lines": 95.0, "toggles": 95.0, "functional": 95.0}
"""Percent that must be reached of what is not excluded, over all units and over all crosses."""


@dataclass(frozen=True)
class Hole:
    """Points that no run reached.

    Args:
        unit: Or the cross's name.
        kind: "line", "toggle" or "functional".
        what: Source line of the branch; signal, bits and way; or combination.
        place: Source file and line, where there is one.
        points: How many.
        reason: Why they are excluded; empty for those that are not.
    """

    unit: str
    kind: str
    what: str
    place: str
    points: int
    reason: str


@dataclass
class Share:
    """Points in all, reached, and not reached but excluded."""

    total: int = 0
    reached: int = 0
    excluded: int = 0

    @property
    def percent(self) -> float:
        """Reached, of those that are not excluded."""
        wanted = self.total - self.excluded
        return 100 * self.reached / wanted if wanted else 100.0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.total + other.total, self.reached + other.reached, self.excluded + other.excluded)


@dataclass
class Coverage:
    """What the runs reached.

    Args:
        runs: How many there were.
        lines: By unit.
        toggles: By unit.
        functional: By cross.
        holes: Excluded ones too.
        unused: Exclusions that explain nothing.
        possible: Combinations that ran although a rule says that they cannot.
    """

    runs: int
    lines: dict[str, Share] = field(default_factory=dict)
    toggles: dict[str, Share] = field(default_factory=dict)
    functional: dict[str, Share] = field(default_factory=dict)
    holes: list[Hole] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    possible: list[str] = field(default_factory=list)

    def totals(self) -> dict[str, Share]:
        """Over all units and crosses, by the names of LEAST."""
        parts = {"lines": self.lines, "toggles": self.toggles, "functional": self.functional}
        return {name: sum(shares.values(), Share()) for name, shares in parts.items()}

    def complaints(self, least: Mapping[str, float] = LEAST) -> list[str]:
        """One sentence for each reason to fail."""
        found = [
            f"{name}: at least {least[name]:.1f} % expected, got {share.percent:.2f} %"
            for name, share in self.totals().items()
            if share.percent < least[name]
        ]
        found += [f"exclusion of coverage matches no hole: {entry}" for entry in self.unused]
        return found + [f"combination ran although a rule excludes it: {entry}" for entry in self.possible]


def summarise(
    reached: Mapping[Place, Reached],
    samples: Sequence[Sample],
    crosses: Sequence[Cross],
    exclusions: Exclusions,
    runs: int,
) -> Coverage:
    """Coverage of merged records."""
    coverage = Coverage(runs)
    for place, what in sorted(reached.items()):
        if place.name:
            share = coverage.toggles.setdefault(place.unit, Share())
            coverage.holes += _signal(place, what, share, exclusions)
        else:
            share = coverage.lines.setdefault(place.unit, Share())
            coverage.holes += _branch(place, what, share, exclusions)
    for cross in crosses:
        coverage.functional[cross.name] = share = Share()
        coverage.holes += _cross(cross, samples, share, coverage.possible)
    coverage.unused = [str(entry) for entry in exclusions.unused()]
    return coverage


@cache
def source_line(file: str, line: int) -> str:
    """A line of a source, without its indentation; empty where there is none."""
    path = REPOSITORY / file
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def _branch(place: Place, what: Reached, share: Share, exclusions: Exclusions) -> Iterator[Hole]:
    share.total += 1
    if what.rose:
        share.reached += 1
        return
    text = source_line(place.file, place.line)
    reason = exclusions.branch(place.unit, text)
    share.excluded += bool(reason)
    shown = f"{text}   (copy {place.copy})" if place.copy else text
    yield Hole(place.unit, "line", shown, f"{place.file}:{place.line}", 1, reason)


def _signal(place: Place, what: Reached, share: Share, exclusions: Exclusions) -> Iterator[Hole]:
    bits = _positions(what.bits)
    share.total += 2 * len(bits)
    share.reached += (what.bits & what.rose).bit_count() + (what.bits & what.fell).bit_count()
    for ways, missing in _missing(what):
        by_reason: dict[str, list[int]] = {}
        for bit in _positions(missing):
            by_reason.setdefault(exclusions.signal(place.unit, place.name, bit), []).append(bit)
        for reason, positions in by_reason.items():
            points = len(ways) * len(positions)
            share.excluded += points if reason else 0
            shown = f"{place.name}{'' if len(bits) == 1 else f'[{_ranges(positions)}]'} {' and '.join(ways)}"
            yield Hole(place.unit, "toggle", shown, f"{place.file}:{place.line}", points, reason)


def _missing(what: Reached) -> Iterator[tuple[tuple[str, ...], int]]:
    """Bits that did not move at all, then those that went one way only."""
    no_rise, no_fall = what.bits & ~what.rose, what.bits & ~what.fell
    yield ("0->1", "1->0"), no_rise & no_fall
    yield ("0->1",), no_rise & ~no_fall
    yield ("1->0",), no_fall & ~no_rise


def _cross(cross: Cross, samples: Iterable[Sample], share: Share, possible: list[str]) -> Iterator[Hole]:
    """Holes of a cross; of combinations that a rule excludes, only how many there are for each rule."""
    hit, ruled_out = hit_points(cross, samples), Counter[str]()
    for point, rule in cross.points():
        shown = ", ".join(f"{axis} {value}" for axis, value in zip(cross.axes, point, strict=True))
        share.total += 1
        if point in hit:
            share.reached += 1
            if rule is not None:
                possible.append(f"{cross.name}: {shown} ({rule.reason})")
        elif rule is None:
            yield Hole(cross.name, "functional", shown, "", 1, "")
        else:
            share.excluded += 1
            ruled_out[rule.reason] += 1
    for reason, points in ruled_out.items():
        yield Hole(cross.name, "functional", "combinations that cannot be", "", points, reason)


def _positions(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _ranges(positions: list[int]) -> str:
    """[3, 4, 5, 9] as "9, 5:3"."""
    parts: list[tuple[int, int]] = []
    for position in positions:
        if parts and parts[-1][1] == position - 1:
            parts[-1] = parts[-1][0], position
        else:
            parts.append((position, position))
    return ", ".join(str(low) if low == high else f"{high}:{low}" for low, high in reversed(parts))
