"""Drives tb/axi_harness.v, the accelerator on its buses with memory inside the compiled model, through sw.driver."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer

from hw.contract.axi import WORD_BYTES, Response
from hw.contract.errors import ArchonError
from sw.driver import Driver
from sw.program import read_hex, write_hex
from tb.bench import PERIOD_NS, RESET_CYCLES
from tb.harness import MemoryControl

ANSWER_CYCLES = 100
"""Within which the register port must answer."""

WAIT_CYCLES = 10_000
"""After which the host looks at the registers without an interrupt."""


class HarnessBus:
    """sw.driver's bus: registers by driving the port's pins, a few cycles each; memory through files, behind the port's back.

    Args:
        dut: Handle of the top module `axi_harness`.
        memory: Its memory.
        base: Byte address of the memory's word 0.

    `on_wait` is awaited whenever a wait is over; no register is accessed meanwhile but by itself.
    """

    def __init__(self, dut: Any, memory: MemoryControl, base: int) -> None:
        self.on_wait: Callable[[], Awaitable[None]] | None = None
        self._dut, self._memory, self._base = dut, memory, base
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            dut[f"registers__{name}"].value = 0
        dut.base.value = base

    async def read_register(self, offset: int) -> int:
        """The 32 bits at an offset."""
        self._set(araddr=offset, arvalid=1, rready=1)
        await self._taken("ar")
        await self._until(lambda: self._dut.registers__rvalid.value)
        value, response = int(self._dut.registers__rdata.value), int(self._dut.registers__rresp.value)
        self._set(rready=0)
        self._refuse(f"reading the register at {offset:#x}", response)
        return value

    async def write_register(self, offset: int, value: int) -> None:
        """Write the 32 bits at an offset."""
        self._set(awaddr=offset, awvalid=1, wdata=value, wstrb=(1 << len(self._dut.registers__wstrb)) - 1, wvalid=1, bready=1)
        await self._taken("aw")  # which is ready whenever `w` is: every write of this host sends both at once
        self._set(wvalid=0)
        await self._until(lambda: self._dut.registers__bvalid.value)
        response = int(self._dut.registers__bresp.value)
        self._set(bready=0)
        self._refuse(f"writing the register at {offset:#x}", response)

    async def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of whole words of memory."""
        if not size:
            return b""
        path = Path("read.hex").resolve()
        await self._memory.dump(path, self._word(address), size // WORD_BYTES)
        return read_hex(path, size // WORD_BYTES).astype("<u8").tobytes()

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write whole words of memory."""
        path = Path("write.hex").resolve()
        write_hex(path, np.frombuffer(data, dtype="<u8").astype(np.uint64), self._word(address))
        await self._memory.load(path)

    async def wait(self) -> None:
        """Until the interrupt is high, or for a while."""
        if not self._dut.interrupt.value:
            await First(RisingEdge(self._dut.interrupt), Timer(WAIT_CYCLES * PERIOD_NS, "ns"))
            await RisingEdge(self._dut.clk)
        if self.on_wait:
            await self.on_wait()

    def _word(self, address: int) -> int:
        return (address - self._base) // WORD_BYTES

    def _set(self, **pins: int) -> None:
        for name, value in pins.items():
            self._dut[f"registers__{name}"].value = value

    async def _taken(self, channel: str) -> None:
        """Wait until what is offered on an address channel is taken."""
        ready = self._dut[f"registers__{channel}ready"]
        await RisingEdge(self._dut.clk)
        await self._until(lambda: ready.value, first=True)
        self._set(**{f"{channel}valid": 0})

    async def _until(self, reached: Callable[[], Any], first: bool = False) -> None:
        for cycle in range(ANSWER_CYCLES):
            if cycle or not first:
                await RisingEdge(self._dut.clk)
            if reached():
                return
        raise AssertionError(f"the register port does not answer within {ANSWER_CYCLES} cycles")

    def _refuse(self, what: str, response: int) -> None:
        if response:
            raise ArchonError(f"{what} failed with {Response(response).name}")


class AxiHarness:
    """A running harness: clock, reset, memory, and the driver of its host.

    Args:
        dut: Handle of the top module `axi_harness`.
        base: Byte address of memory's word 0.
    """

    def __init__(self, dut: Any, base: int) -> None:
        self.dut, self.base = dut, base
        self.memory = MemoryControl(dut)
        self.bus = HarnessBus(dut, self.memory, base)
        self.driver = Driver(self.bus)
        self.fail()
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())

    async def reset(self) -> None:
        """Reset accelerator and memory's port; the memory keeps its words."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, RESET_CYCLES)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    def fail(self, read: int = 0, write: int = 0, response: Response = Response.OKAY) -> None:
        """Let memory answer this read word and this write, counted from 1 since the reset, with an error; 0: none."""
        self.dut.read_error_at.value, self.dut.write_error_at.value = read, write
        self.dut.error_response.value = response
