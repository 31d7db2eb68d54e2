"""Bit-vector expressions."""

from amaranth.hdl import Value

from hw.rtl.arithmetic import tree_sum


def lowest_bit(bits: Value) -> Value:
    """One-hot mask of the lowest set bit; 0 for 0. Same width as the argument."""
    return (bits & -bits)[: len(bits)]


def popcount(bits: Value) -> Value:
    """Number of set bits."""
    return tree_sum(list(bits))
