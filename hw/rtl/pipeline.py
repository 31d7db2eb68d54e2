"""Registers that carry values along a pipeline."""

from amaranth.hdl import Module, Signal, Value


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
