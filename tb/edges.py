"""What agents do in every clock cycle, at the least cost: Python takes more of a unit's test than the unit does.

One task serves all agents of a clock, and pins are read as text or numbers: no object is made of a value.
"""

from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.task import Task
from cocotb.triggers import RisingEdge

_BITS = {"0": False, "1": True}

Step = Callable[[bool], None]
"""What an agent does in a cycle, told whether the design is in reset (or has not been yet)."""

_clocks: dict[Any, tuple[Task[None], list[Step]]] = {}
"""By the clock's handle: the task that serves it, and what it calls."""


def every_cycle(dut: Any, step: Step) -> None:
    """Call `step` at every rising edge of `dut.clk` from the next one on, until the test ends.

    Steps are called in the order in which they came. They see pins as they were before the edge and drive them right after it.
    """
    task, steps = _clocks.get(dut.clk, (None, []))
    if task is None or task.done():  # the test before ended its tasks
        steps = []
        _clocks[dut.clk] = cocotb.start_soon(_serve(dut, steps)), steps
    steps.append(step)


async def _serve(dut: Any, steps: list[Step]) -> None:
    edge, reset = RisingEdge(dut.clk), _reader(dut.rst)
    while True:
        await edge
        resetting = reset() != "0"
        for step in steps:
            step(resetting)


def bit(handle: Any) -> Callable[[], bool]:
    """Reads a pin of one bit; KeyError where it is neither 0 nor 1."""
    read = _reader(handle)
    return lambda: _BITS[read()]


def number(handle: Any) -> Callable[[], int]:
    """Reads pins as an unsigned number; ValueError where a bit is neither 0 nor 1."""
    read = _reader(handle)
    return lambda: int(read(), 2)


def numbers(dut: Any, prefix: str, names: tuple[str, ...]) -> Callable[[], dict[str, int]]:
    """Reads several ports PREFIX + name, by their names."""
    readers = [(name, number(dut[f"{prefix}{name}"])) for name in names]
    return lambda: {name: read() for name, read in readers}


def _reader(handle: Any) -> Callable[[], str]:
    read: Callable[[], str] = handle._handle.get_signal_val_binstr  # noqa: SLF001 - what handle.value makes its object of
    return read
