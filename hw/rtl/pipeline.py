"""Registers that carry values along a pipeline."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value

COPY = "copy"
"""Attribute of registers that synthesis must not make one of, though they always hold the same."""


def copies(m: Module, value: Value, count: int, name: str) -> list[Signal]:
    """`value` as it was a cycle ago, in `count` registers (data: not reset), where one's wires to all readers would be long."""
    registers = [Signal(value.shape(), reset_less=True, name=f"{name}{index}", attrs={COPY: 1}) for index in range(count)]
    m.d.sync += [register.eq(value) for register in registers]
    return registers


def delay(m: Module, value: Value, cycles: int) -> Value:
    """`value` as it was `cycles` cycles ago (data: not reset)."""
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def delay_flags(m: Module, value: Value, cycles: int, clear: Value) -> list[Value]:
    """`value` as it was 0, 1, .. `cycles` cycles ago (control: reset, and emptied by `clear`)."""
    stages = [value]
    for _ in range(cycles):
        register = Signal(value.shape())
        with m.If(clear):
            m.d.sync += register.eq(0)
        with m.Else():
            m.d.sync += register.eq(stages[-1])
        stages.append(register)
    return stages


def pipelined_sum(m: Module, values: Sequence[Value]) -> Value:
    """Exact sum by a tree of adders with a register after each level; see sum_cycles."""
    values = list(values)
    for _ in range(sum_cycles(len(values))):
        pairs = [left + right for left, right in zip(values[::2], values[1::2], strict=False)]
        values = [delay(m, value, 1) for value in pairs + values[len(pairs) * 2 :]]
    return values[0]


def sum_cycles(count: int) -> int:
    """Latency of pipelined_sum for `count` values: at least one register."""
    return max(1, (count - 1).bit_length())
