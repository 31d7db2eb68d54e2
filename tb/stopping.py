"""What the tests of the memory masters share: failures, and the stop that has to follow them."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from tb.bench import Bench
from tb.edges import bit, every_cycle, number
from tb.streams import StreamSource

LIMIT = 20_000
"""Cycles that a stop takes at most, and what has to be sent before it."""


class Failures:
    """Collects the byte addresses of a failure port."""

    def __init__(self, dut: Any, name: str) -> None:
        self.addresses: list[int] = []
        self._valid, self._address = bit(dut[f"{name}__valid"]), number(dut[f"{name}__address"])
        every_cycle(dut, self._step)

    def _step(self, reset: bool) -> None:
        if not reset and self._valid():
            self.addresses.append(self._address())


class Stopper:
    """Raises `stop` after a failure and drops it when the design is no longer busy and, where given, `emptied` has sent all."""

    def __init__(self, bench: Bench, emptied: StreamSource | None = None) -> None:
        self._bench, self._dut, self._emptied = bench, bench.dut, emptied
        self.stops = 0
        bench.dut.stop.value = 0
        cocotb.start_soon(self._run())

    async def until(self, stops: int) -> None:
        """Wait for the end of so many stops in all."""
        await self._bench.until(lambda: self.stops == stops, f"the end of stop {stops}", LIMIT)

    async def _run(self) -> None:
        edge, reset = RisingEdge(self._dut.clk), bit(self._dut.rst)
        failed = [bit(self._dut[f"{name}__valid"]) for name in ("outside", "failed")]
        while True:
            await edge
            if reset() or not any(valid() for valid in failed):
                continue
            self._dut.stop.value = 1
            await edge
            await edge
            while self._dut.busy.value or (self._emptied is not None and self._emptied.pending):
                await edge
            self._dut.stop.value = 0
            self.stops += 1
