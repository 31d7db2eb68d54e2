"""What a proof is."""

from collections.abc import Callable
from dataclasses import dataclass

from formal.bench import Bench


@dataclass(frozen=True)
class Proof:
    """A bench and how far to look.

    Args:
        name: Of the proof, for people and for `--only`.
        build: Makes its bench; what is proven stands in its docstring.
        depth: With induction, the cycles that a state's past is looked at; else the cycles after reset that are looked at.
        cover_depth: Cycles after reset in which everything must have happened that the bench says can.
        induction: Whether what is proven holds for all time.
        quick: Takes some seconds, so that the tests run it.
    """

    name: str
    build: Callable[[], Bench]
    depth: int = 2
    cover_depth: int = 12
    induction: bool = True
    quick: bool = False
