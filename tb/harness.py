"""Drives tb/harness.v, the accelerator with its memory inside the compiled model, without touching it every cycle."""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, SimTimeoutError, with_timeout

from hw.contract.activity import ACTIVITY
from hw.contract.descriptor import COMMAND, REPORT
from hw.contract.layout import Layout
from tb.bench import PERIOD_NS, RESET_CYCLES
from tb.streams import signals

REPORT_CYCLES = 100
"""Cycles after the end of a program within which its last report must have come."""


class MemoryControl:
    """File access, speed and health of memory.v, by its ports on the top module."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        for name in ("load", "dump", "file", "dump_start", "dump_end", "latency", "pause", "idle"):
            dut[name].value = 0

    def speed(self, latency: int, pause: int = 0, idle: int | None = None) -> None:
        """Set latency in cycles, and of 256 how many requests and writes wait on average, and (else as many) words."""
        self._dut.latency.value = latency
        self._dut.pause.value = pause
        self._dut.idle.value = pause if idle is None else idle

    async def load(self, path: Path) -> None:
        """Read a $readmemh file with @address lines into memory."""
        await self._strobe("load", path)

    async def dump(self, path: Path, address: int, words: int) -> None:
        """Write `words` words from `address` on to a $readmemh file, without @address lines: word 0 is `address`."""
        self._dut.dump_start.value = address
        self._dut.dump_end.value = address + words - 1
        await self._strobe("dump", path)

    def check(self) -> None:
        """AssertionError after an access outside the memory."""
        assert not self._dut.fault.value, "memory: access outside its words, or a request of none; see the simulation's log"

    @property
    def words_read(self) -> int:
        """Words handed over since reset."""
        return int(self._dut.words_read.value)

    @property
    def words_written(self) -> int:
        """Writes accepted since reset."""
        return int(self._dut.words_written.value)

    async def _strobe(self, name: str, path: Path) -> None:
        encoded = str(path).encode()
        room = len(self._dut.file) // 8
        assert len(encoded) <= room, f"memory: a path of at most {room} bytes expected, got {len(encoded)}: {path}"
        self._dut.file.value = int.from_bytes(encoded, "big")
        self._dut[name].value = 1
        await ClockCycles(self._dut.clk, 2)
        self._dut[name].value = 0
        await ClockCycles(self._dut.clk, 2)


class Harness:
    """A running harness: clock, reset, memory files, programs and their reports.

    Args:
        dut: Handle of the top module `harness`.

    `reports` and `activity` collect unpacked REPORT and ACTIVITY payloads in the order in which they come.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.memory = MemoryControl(dut)
        self.reports: list[dict[str, Any]] = []
        self._command = signals(dut, "command", COMMAND)
        self.activity: list[dict[str, Any]] = []
        dut.command__valid.value = 0
        dut.report__ready.value = 1
        dut.activity__ready.value = 1
        dut.record.value = 0
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self._collect("report", REPORT, self.reports))
        cocotb.start_soon(self._collect("activity", ACTIVITY, self.activity))

    async def reset(self) -> None:
        """Reset accelerator and memory's streams; the memory keeps its words."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, RESET_CYCLES)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def run(self, program_address: int, jobs: int, limit: int) -> list[dict[str, Any]]:
        """Run one program to its end and return the reports of its `jobs` jobs.

        AssertionError where it is not over after `limit` cycles, where error or fault are set, or where a report is missing.
        """
        first, clock = len(self.reports), RisingEdge(self.dut.clk)
        payload, valid, ready = self._command
        payload.value = COMMAND.pack({"program_address": program_address})
        valid.value = 1
        await clock
        while not ready.value:
            await clock
        valid.value = 0
        await clock
        try:
            if self.dut.busy.value:
                await with_timeout(FallingEdge(self.dut.busy), limit * PERIOD_NS, "ns")
        except SimTimeoutError:
            raise AssertionError(
                f"program at {program_address}: still busy after {limit} cycles, {len(self.reports) - first} of {jobs} "
                f"reports came, {self.memory.words_read} words read, {self.memory.words_written} written"
            ) from None
        for _ in range(REPORT_CYCLES):
            if len(self.reports) - first >= jobs:
                break
            await clock
        self.memory.check()
        assert not self.dut.error.value, f"program at {program_address}: the accelerator found a bad descriptor"
        came = len(self.reports) - first
        assert came == jobs, f"program at {program_address}: {jobs} reports expected, got {came}"
        return self.reports[first:]

    async def _collect(self, name: str, layout: Layout, found: list[dict[str, Any]]) -> None:
        payload, valid, _ = signals(self.dut, name, layout)
        clock, offered = RisingEdge(self.dut.clk), RisingEdge(valid)
        while True:
            await offered
            await clock
            while valid.value:
                found.append(layout.unpack(int(payload.value)))
                await clock
