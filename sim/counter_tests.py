"""cocotb tests of testdata/counter.v, for the tests of the simulation build itself."""

import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge


@cocotb.test()
async def counts(dut: Any) -> None:
    """The count goes up by EXPECTED_STEP in every enabled cycle."""
    await start(dut)
    enabled = [random.random() < 0.5 for _ in range(100)]
    for bit in enabled:
        dut.enable.value = bit
        await RisingEdge(dut.clk)
    dut.enable.value = 0
    await RisingEdge(dut.clk)
    step = int(os.environ["EXPECTED_STEP"])
    assert int(dut.count.value) == sum(enabled) * step % 256
    Path("enabled_cycles").write_text(str(enabled), encoding="utf-8")


@cocotb.test()
@cocotb.parametrize(cycles=[1, 10])
async def holds(dut: Any, cycles: int) -> None:
    """The count stays where it is while not enabled."""
    await start(dut)
    await ClockCycles(dut.clk, cycles)
    assert int(dut.count.value) == 0


async def start(dut: Any) -> None:
    """Start the clock and reset."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value, dut.enable.value = 1, 0
    await RisingEdge(dut.clk)
    dut.rst.value = 0
