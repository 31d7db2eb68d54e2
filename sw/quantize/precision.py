"""How finely weights and the predictor's inputs are rounded: the hardware's widths, and choices that it does not leave open."""

from __future__ import annotations

from dataclasses import dataclass, field

from hw.contract import numerics
from hw.contract.config import Widths
from sw.quantize import powers


@dataclass(frozen=True)
class Precision:
    """Numbers that an integer network is made of; the defaults are those of the hardware."""

    widths: Widths = field(default_factory=Widths)
    """What W1, D, biases and sums must fit."""
    project_terms: int = powers.TERMS
    """Most signed powers of two in a weight of W2, with shifts of `widths.shift` bits."""
    project_bits: int | None = None
    """W2 as any integer of so many bits, symmetric; None: as signed powers of two."""
    predictor_input: int = numerics.PREDICTOR_INPUT_BITS
    """Bits of the predictor's inputs; the golden model and the RTL have these alone."""

    @property
    def project_magnitudes(self) -> tuple[int, ...]:
        """All magnitudes that a weight of W2 can have, 0 included, in order."""
        if self.project_bits is not None:
            return tuple(range(1 << (self.project_bits - 1)))
        return powers.magnitudes(self.widths.shift_max, self.project_terms)

    @property
    def input_step(self) -> int:
        """Activation levels in one level of the predictor's inputs."""
        return 1 << (numerics.ACTIVATION_BITS - self.predictor_input)

    @property
    def finer(self) -> int:
        """By how many bits the predictor's inputs, and so its sums, are finer than those that level shifts are given for."""
        return self.predictor_input - numerics.PREDICTOR_INPUT_BITS
