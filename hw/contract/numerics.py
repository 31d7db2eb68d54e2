"""Integer arithmetic of ARCHON: rounding, saturation, requantisation, predictor levels, signed powers of two.

All functions take numpy integer arrays (or Python ints) and are exact. `docs/numerics.md` states the same rules in words.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hw.contract.errors import ArchonError

ACTIVATION_BITS = 8
"""Block inputs and outputs: signed, -128..127."""

PREDICTOR_INPUT_BITS = 4
"""Predictor inputs: signed, -8..7."""

PREDICTOR_INPUT_SHIFT = ACTIVATION_BITS - PREDICTOR_INPUT_BITS
"""One predictor input level is 2**4 activation levels."""

LEVEL_BITS = 4
"""First predictor output r1: unsigned, 0..15; zero means that the first ReLU is off."""

LEVEL_MAX = (1 << LEVEL_BITS) - 1

OUTPUT_ACCUMULATOR_BITS = 32
"""y, biases and logits."""

MULTIPLIER_BITS = 15
"""Requantisation multiplier: unsigned, 2**14..2**15-1 when normalised."""

MULTIPLIER_SHIFT_MAX = 47
"""Largest right shift of a requantisation."""

GATE_BITS = ACTIVATION_BITS - 1
"""A gate of squeeze-and-excite is an activation from 0 up that stands for gate / 2**GATE_BITS."""

HARD_SIGMOID_REACH = 3
"""A gate is hard_sigmoid(z) = clamp((z + 3) / 6, 0, 1): a ReLU and the saturation of the activation give the clamp."""

Integers = NDArray[np.int64]


def signed_range(bits: int) -> tuple[int, int]:
    """Smallest and largest value of a signed two's complement number of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def fits_signed(values: ArrayLike, bits: int) -> bool:
    """True when every value lies in the signed range of `bits` bits."""
    array = np.asarray(values)
    low, high = signed_range(bits)
    return array.size == 0 or bool(array.min() >= low and array.max() <= high)


def signed_bits(magnitude: int) -> int:
    """Smallest signed width that holds both `magnitude` and `-magnitude`."""
    return int(magnitude).bit_length() + 1


def saturate(values: ArrayLike, bits: int) -> Integers:
    """Clamp to the signed range of `bits` bits."""
    low, high = signed_range(bits)
    return np.clip(np.asarray(values, dtype=np.int64), low, high)


def round_shift(values: ArrayLike, shift: ArrayLike) -> Integers:
    """Divide by 2**shift, rounding half away from zero (as TFLite does). `shift` >= 0 broadcasts against `values`."""
    array = np.asarray(values, dtype=np.int64)
    amount = np.asarray(shift, dtype=np.int64)
    half = np.where(amount > 0, np.int64(1) << np.maximum(amount - 1, 0), 0)
    magnitude = (np.abs(array) + half) >> amount
    return np.where(array < 0, -magnitude, magnitude)


def requantize(accumulator: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Integers:
    """int32 accumulator to int8: saturate(round(accumulator * multiplier / 2**shift)), rounding half away from zero.

    `multiplier` (unsigned, 15 bits) and `shift` (0..47) broadcast against the accumulator; the product is exact in 47 bits.
    """
    product = np.asarray(accumulator, dtype=np.int64) * np.asarray(multiplier, dtype=np.int64)
    return saturate(round_shift(product, shift), ACTIVATION_BITS)


def add_residual(output: ArrayLike, residual: ArrayLike) -> Integers:
    """Saturating int8 addition; both operands share one scale."""
    return saturate(np.asarray(output, dtype=np.int64) + np.asarray(residual, dtype=np.int64), ACTIVATION_BITS)


def gated(activation: ArrayLike, weight: ArrayLike, gate: ArrayLike, shift: ArrayLike) -> Integers:
    """An activation times a gate: `weight` (int8) and `shift` (0..47) bring it to the output's scale, with one rounding."""
    return requantize(np.asarray(activation, dtype=np.int64) * np.asarray(weight, dtype=np.int64), gate, shift)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """The (multiplier, shift) nearest to a positive real factor: real ~ multiplier / 2**shift.

    Zero gives (0, 0). Raises ArchonError for a negative, infinite or too large factor (2**15 and more).
    """
    if not math.isfinite(real) or real < 0 or real >= 1 << MULTIPLIER_BITS:
        raise ArchonError(f"requantisation factor must lie in [0, {1 << MULTIPLIER_BITS}), got {real}")
    if real == 0:
        return 0, 0
    shift = min(MULTIPLIER_SHIFT_MAX, MULTIPLIER_BITS - math.frexp(real)[1])
    multiplier = round(real * 2.0**shift)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier >> 1, shift - 1
    if shift < 0:
        raise ArchonError(f"requantisation factor {real} is too large for {MULTIPLIER_BITS} bits")
    return multiplier, shift


def predictor_input(activation: ArrayLike, bits: int = PREDICTOR_INPUT_BITS) -> Integers:
    """int8 activation to the 4-bit predictor input: saturate(round(x / 16)), rounding half away from zero.

    The hardware has no other `bits`: they are there to measure what these are worth.
    """
    return saturate(round_shift(activation, ACTIVATION_BITS - bits), bits)


def predictor_level(excess: ArrayLike, shift: ArrayLike) -> Integers:
    """First predictor output r1 from the excess u = s1 - threshold: 0 where u <= 0, else min(15, ceil(u / 2**shift)).

    The ceiling makes r1 non-zero exactly where the first ReLU survives, so r1 is the mask as well.
    """
    excess = np.asarray(excess, dtype=np.int64)
    amount = np.asarray(shift, dtype=np.int64)
    level = -((-excess) >> amount)
    return np.where(excess > 0, np.minimum(level, LEVEL_MAX), 0)


def signed_powers(weight: int, shift_max: int) -> list[tuple[bool, int]]:
    """`weight` as the shortest sum of signed powers of two: [(negative, shift), ...], largest shift first.

    The canonical signed digit form (Reitwiesner 1960): no two adjacent shifts, so the length is minimal.
    Zero gives []. Raises ArchonError when a shift above `shift_max` would be needed.
    """
    remainder, shift, terms = int(weight), 0, []
    while remainder:
        if remainder & 1:
            digit = 2 - (remainder & 3)
            terms.append((digit < 0, shift))
            remainder -= digit
        remainder >>= 1
        shift += 1
    if terms and terms[-1][1] > shift_max:
        raise ArchonError(f"weight {weight} needs a shift of {terms[-1][1]}, at most {shift_max} are there")
    return terms[::-1]


STEP_TERMS = 2
"""Signed powers of two that one step of accumulation adds."""


def accumulation_steps(weight: int, shift_max: int) -> list[list[tuple[bool, int]]]:
    """The terms of signed_powers, STEP_TERMS a step."""
    terms = signed_powers(weight, shift_max)
    return [terms[first : first + STEP_TERMS] for first in range(0, len(terms), STEP_TERMS)]
