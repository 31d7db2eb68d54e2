"""Amaranth expressions of the contract's arithmetic (hw.contract.numerics), and the sums that the units share.

Functions take and return values and add no registers; results are as wide as they need to be and never wrap.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Mux, Value

from hw.contract import numerics


def round_addend(value: Value, shift: Value | int) -> Value:
    """What to add to a signed value before its arithmetic shift right by `shift`, so that it rounds half away from zero.

    Half of 2**shift for values from zero up, one less for negative ones, 0 for a shift of 0. `shift` must not exceed the
    bits of the value; the result is unsigned and as wide as the value.
    """
    bits = len(value) + 1
    one, ones = Const(1, bits), Const((1 << bits) - 1, bits)
    # 2**shift - 1 as the complement of ones shifted: no carry runs through it.
    return Mux(value[-1], ~(ones << shift)[:bits] >> 1, (one << shift)[:bits] >> 1)


def round_shift(value: Value, shift: Value | int) -> Value:
    """numerics.round_shift: a signed value divided by 2**shift, rounding half away from zero; see round_addend."""
    return (value + round_addend(value, shift)) >> shift


def saturate(value: Value, bits: int) -> Value:
    """numerics.saturate: a signed value clamped to the signed range of `bits` bits; the result has `bits` bits."""
    if len(value) <= bits:
        return value
    low, high = numerics.signed_range(bits)
    overflow = value[bits - 1 :].any() & ~value[bits - 1 :].all()
    return Mux(overflow, Mux(value[-1], low, high), value[:bits].as_signed()).as_signed()[:bits].as_signed()


def predictor_input(activation: Value) -> Value:
    """numerics.predictor_input: int8 to signed 4 bits."""
    return saturate(round_shift(activation, numerics.PREDICTOR_INPUT_SHIFT), numerics.PREDICTOR_INPUT_BITS)


def predictor_level(excess_minus_one: Value, shift: Value) -> Value:
    """numerics.predictor_level from the signed excess less one: unsigned, numerics.LEVEL_BITS wide.

    For an excess u > 0, ceil(u / 2**shift) = ((u - 1) >> shift) + 1, and u - 1 = sum + ~threshold costs no carry.
    """
    magnitude = excess_minus_one[:-1] >> shift
    level = Mux(magnitude >= numerics.LEVEL_MAX, numerics.LEVEL_MAX, magnitude[: numerics.LEVEL_BITS] + 1)
    return Mux(excess_minus_one[-1], 0, level)[: numerics.LEVEL_BITS]


def add_with_carry(left: Value, right: Value, carry: Value) -> Value:
    """Signed left + right + carry (one bit) in a single adder."""
    return (Cat(1, left).as_signed() + Cat(carry, right).as_signed()) >> 1


def ternary_sum(values: Sequence[Value], weights: Sequence[Value]) -> tuple[Value, Value]:
    """Sum of unsigned values times ternary weights (2-bit two's complement -1, 0, 1), as (sum, carry).

    The exact sum is sum + carry. Negated values enter as their complement and the missing ones use the adders' carry
    inputs; one is left over, for the caller's next adder (add_with_carry).
    """
    terms = [
        (Cat(value, 0) & weight[0].replicate(len(value) + 1)) ^ weight[1].replicate(len(value) + 1)
        for value, weight in zip(values, weights, strict=True)
    ]
    carries = [Value.cast(weight[1]) for weight in weights]
    total = Value.cast(terms[0]).as_signed()
    for term, carry in zip(terms[1:], carries[1:], strict=True):
        total = add_with_carry(total, Value.cast(term).as_signed(), carry)
    return total, carries[0]


def shifted_terms(value: Value, factor: Value) -> tuple[list[Value], Value]:
    """The product of two signed values as additions, one for each bit of `factor`: no multiplier is spent on it.

    Returns: sums of two terms each, and what is to be taken from their sum.
    """
    terms = [Value.cast(Mux(bit, value << index, 0)).as_signed() for index, bit in enumerate(factor)]
    return [tree_sum(terms[index : min(index + 2, len(terms) - 1)]) for index in range(0, len(terms) - 1, 2)], terms[-1]


def tree_sum(values: Sequence[Value]) -> Value:
    """Exact sum of signed or unsigned values by a balanced tree of adders."""
    values = list(values)
    while len(values) > 1:
        pairs = [left + right for left, right in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def popcount(bits: Value) -> Value:
    """Number of set bits."""
    return tree_sum(list(bits))


def lowest_bit(bits: Value) -> Value:
    """One-hot mask of the lowest set bit; 0 for 0. Same width as the argument."""
    return (bits & -bits)[: len(bits)]
