"""Bit-vector expressions."""

from amaranth.hdl import Value


def lowest_bit(bits: Value) -> Value:
    """One-hot mask of the lowest set bit; 0 for 0. Same width as the argument."""
    return (bits & -bits)[: len(bits)]


def popcount(bits: Value) -> Value:
    """Number of set bits, as a balanced adder tree."""
    counts: list[Value] = list(bits)
    while len(counts) > 1:
        paired = [left + right for left, right in zip(counts[::2], counts[1::2], strict=False)]
        counts = paired + counts[2 * len(paired) :]
    return counts[0]
