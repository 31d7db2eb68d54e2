"""The choices that are compared: the hardware's, and others that each differ from it in one thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.quantize.precision import Precision

WIDE = Widths(accumulator=32, predictor_sum=16)
"""Widths of sums that bind nowhere: what a choice needs of them is counted afterwards."""

DEFAULT = "default"
KINDS = {
    DEFAULT: "the hardware as it is",
    "weights": "bits of W1 and D, adders as wide as needed",
    "weights, same adder": "bits of W1 and D, adders of 18 bits",
    "powers of two": "terms and shifts of W2, adders as wide as needed",
    "plain": "W2 as plain integers, adders as wide as needed",
    "adder": "bits of the adders",
    "predictor": "bits of the predictor's inputs",
    "together": "fewer bits in several places",
}


@dataclass(frozen=True)
class Choice:
    """One way to quantise, and what it is a variation of."""

    kind: str
    precision: Precision

    @property
    def project(self) -> str:
        """How W2 is written."""
        precision = self.precision
        if precision.project_bits is not None:
            return f"plain, {precision.project_bits} bits"
        terms = "1 power" if precision.project_terms == 1 else f"{precision.project_terms} powers"
        return f"{terms}, shifts to {precision.widths.shift_max}"

    @property
    def settings(self) -> dict[str, int | str]:
        """What tells it from others, as a row of the table has it."""
        widths = self.precision.widths
        return {
            "kind": self.kind,
            "weight_bits": widths.weight,
            "project": self.project,
            "adder_limit": widths.accumulator,
            "predictor_input_bits": self.precision.predictor_input,
        }

    def __str__(self) -> str:
        widths = self.precision.widths
        limit = "" if widths.accumulator == WIDE.accumulator else f", A {widths.accumulator} bits"
        inputs = self.precision.predictor_input
        return f"{self.kind}: W1, D {widths.weight} bits, W2 {self.project}{limit}, predictor {inputs} bits"


def choices_of(only: Sequence[str] | None = None) -> list[Choice]:
    """All that are compared, the hardware's first; else it and those of some kinds.

    Raises:
        ArchonError: an unknown kind.
    """
    unknown = sorted(set(only or ()) - KINDS.keys())
    if unknown:
        raise ArchonError(f"only: expected some of {', '.join(KINDS)}, got {unknown[0]}")
    return [choice for choice in _choices() if only is None or choice.kind in {DEFAULT, *only}]


def _wide(weight_bits: int) -> Widths:
    """WIDE, for weights of so many bits, with biases that may exceed these as far as the hardware's may.

    D b1 and b2 come in units of W1 times D, so a bit more of both is two more of the biases. They do bind: a channel whose
    weights have decayed to next to nothing beside its bias is given up, instead of taking the widest biases there are.
    """
    finer = 2 * (weight_bits - WIDE.weight)
    return replace(WIDE, weight=weight_bits, bias_product=WIDE.bias_product + finer, bias=WIDE.bias + finer)


def _choices() -> Iterator[Choice]:
    default = Precision()
    yield Choice(DEFAULT, default)
    for bits in range(4, 9):
        yield Choice("weights", Precision(_wide(bits)))
    for bits in range(6, 9):
        same = replace(_wide(bits), accumulator=default.widths.accumulator)
        yield Choice("weights, same adder", Precision(same))
    for terms, shift in ((1, 2), (1, 3), (1, 4), (2, 2), (2, 4)):
        yield Choice("powers of two", Precision(replace(WIDE, shift=shift), project_terms=terms))
    for bits in range(3, 9):
        yield Choice("plain", Precision(WIDE, project_bits=bits))
    for bits in range(12, default.widths.accumulator):
        yield Choice("adder", Precision(replace(WIDE, accumulator=bits)))
    for bits in (2, 3, 5, 6, 8):
        yield Choice("predictor", Precision(replace(WIDE, accumulator=default.widths.accumulator), predictor_input=bits))
    for weight, terms, shift in ((4, 1, 3), (4, 2, 2), (6, 1, 3)):
        yield Choice("together", Precision(replace(_wide(weight), shift=shift), project_terms=terms))
