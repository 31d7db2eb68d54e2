"""What runs reached, and their sum."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.coverage.points import Place


@dataclass
class Reached:
    """Of a signal, bit n of each number stands for its bit n. Of a branch, bit 0 of `rose` says that it ran.

    Args:
        bits: Which of them count.
        rose: Which went from 0 to 1.
        fell: Which went from 1 to 0.
    """

    bits: int = 0
    rose: int = 0
    fell: int = 0

    def add(self, other: "Reached") -> None:
        """What either reached."""
        self.bits |= other.bits
        self.rose |= other.rose
        self.fell |= other.fell


@dataclass
class Record:
    """What one run reached.

    Args:
        name: Of the run.
        reached: By place.
        samples: What tb.coverage sampled.
    """

    name: str
    reached: dict[Place, Reached] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        facts = {
            "name": self.name,
            "reached": [[*vars(place).values(), *vars(what).values()] for place, what in self.reached.items()],
            "samples": self.samples,
        }
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(facts), encoding="utf-8")
        beside.replace(path)

    @staticmethod
    def read(path: Path) -> "Record":
        """What was written."""
        facts = json.loads(path.read_text(encoding="utf-8"))
        reached = {Place(*entry[:5]): Reached(*entry[5:]) for entry in facts["reached"]}
        return Record(facts["name"], reached, facts["samples"])


def merged(records: Iterable[Record]) -> dict[Place, Reached]:
    """What all runs together reached: a point is there when any model has it, and reached when any run reached it."""
    total: dict[Place, Reached] = {}
    for record in records:
        for place, what in record.reached.items():
            total.setdefault(place, Reached()).add(what)
    return total
