"""AXI agents: pauses on every channel by the named patterns, errors on demand, and a watch over what the design issues."""

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from cocotb.triggers import ClockCycles
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiRamWrite,
    AxiReadBus,
    AxiWriteBus,
)
from cocotbext.axi.sparse_memory import SparseMemory

from hw.contract.axi import BYTE_ADDRESS_BITS, WORD_BYTES, Response
from tb.edges import bit, every_cycle, numbers
from tb.streams import Pattern, pattern

READ_ADDRESS = ("ar", ("id", "addr", "len", "size", "burst", "cache", "prot"))
WRITE_ADDRESS = ("aw", ("id", "addr", "len", "size", "burst", "cache", "prot"))
WRITE_DATA = ("w", ("data", "strb", "last"))

Window = tuple[int, int]
"""First byte address, and the first one behind."""


def register_port(dut: Any, prefix: str, held: str, rng: random.Random) -> AxiLiteMaster:
    """A host on the design's AXI4-Lite port whose five channels are held by the named pattern."""
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, f"{prefix}_"), dut.clk, dut.rst)
    write, read = master.write_if, master.read_if
    _Pauses(dut, held, rng).add([write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel])
    return master


class AxiMemory:
    """Memory on the design's AXI4 port, or on a half of it.

    Args:
        dut: Handle of the top module.
        prefix: Name of the port, without "__araddr" and so on.
        held: Pattern name of the pauses of every channel.
        rng: Of the pauses.
        reads, writes: Which halves the port has.
        depth: Transactions that wait in every channel.

    Whatever the design offers on an address or write data channel must stay until it is taken, and must lie in `read_window`
    or `write_window`: an AssertionError ends the test otherwise. `read_faults` and `write_faults` map the number of a word,
    counted from 0 on, to the error that memory answers with; what was read is then inverted.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        held: str,
        rng: random.Random,
        *,
        reads: bool = True,
        writes: bool = True,
        depth: int = 2,
    ) -> None:
        self.bytes = SparseMemory(1 << BYTE_ADDRESS_BITS)
        self.read_window: Window = (0, 1 << BYTE_ADDRESS_BITS)
        self.write_window: Window = (0, 1 << BYTE_ADDRESS_BITS)
        self.read_faults: dict[int, Response] = {}
        self.write_faults: dict[int, Response] = {}
        self.words_read = self.words_written = 0
        self._dut, self._prefix = dut, prefix
        self._channels: list[Any] = []
        self._pauses = _Pauses(dut, held, rng)
        if reads:
            read = AxiRamRead(AxiReadBus.from_prefix(dut, f"{prefix}_"), dut.clk, dut.rst, mem=self.bytes)
            self._add([read.ar_channel, read.r_channel], depth)
            _intercept(read.r_channel, self._answer_read)
            self._watch(*READ_ADDRESS, self._check_read)
        if writes:
            write = AxiRamWrite(AxiWriteBus.from_prefix(dut, f"{prefix}_"), dut.clk, dut.rst, mem=self.bytes)
            self._add([write.aw_channel, write.w_channel, write.b_channel], depth)
            self._writer = write
            _intercept(write.b_channel, self._answer_write)
            self._watch(*WRITE_ADDRESS, self._check_write)
            self._watch(*WRITE_DATA, lambda _: None)

    def _add(self, channels: list[Any], depth: int) -> None:
        for channel in channels:
            channel.queue_occupancy_limit = depth
        self._channels += channels
        self._pauses.add(channels)

    def describe(self) -> str:
        """One phrase on what was read and written, for time-outs."""
        return f"memory: {self.words_read} words read, {self.words_written} written"

    def delay_writes(self, cycles: int) -> None:
        """Let every write take so many cycles, after its data were taken, until a read sees it and it is answered."""
        land = self._writer._write  # noqa: SLF001 - where the agent lets its memory be replaced

        async def late(address: int, data: bytes) -> None:
            await ClockCycles(self._dut.clk, cycles)
            await land(address, data)

        self._writer._write = late  # noqa: SLF001

    def freeze(self, frozen: bool = True) -> None:
        """Let no channel go on, until thawed: memory then runs without pauses."""
        self._pauses.end()
        for channel in self._channels:
            channel.pause = frozen

    def _answer_read(self, answer: Any) -> None:
        fault = self.read_faults.get(self.words_read)
        if fault is not None:
            answer.rresp, answer.rdata = fault, answer.rdata ^ ((1 << (8 * WORD_BYTES)) - 1)
        self.words_read += 1

    def _answer_write(self, answer: Any) -> None:
        answer.bresp = self.write_faults.get(self.words_written, answer.bresp)
        self.words_written += 1

    def _check_read(self, burst: Mapping[str, int]) -> None:
        _check_inside("read", burst, self.read_window)

    def _check_write(self, burst: Mapping[str, int]) -> None:
        _check_inside("write", burst, self.write_window)

    def _watch(self, channel: str, fields: tuple[str, ...], check: Callable[[Mapping[str, int]], None]) -> None:
        """Every cycle of a channel that the design drives."""
        prefix = f"{self._prefix}__{channel}"
        read = numbers(self._dut, prefix, fields)
        valid, ready = (bit(self._dut[f"{prefix}{name}"]) for name in ("valid", "ready"))
        waiting: dict[str, int] | None = None

        def step(reset: bool) -> None:
            nonlocal waiting
            if reset:
                waiting = None
                return
            offered = read() if valid() else None
            assert waiting in (None, offered), f"{channel}: {waiting} was offered and not taken, now {offered}"
            if offered is not None:
                check(offered)
                waiting = None if ready() else offered

        every_cycle(self._dut, step)


def _check_inside(kind: str, burst: Mapping[str, int], window: Window) -> None:
    first, behind = burst["addr"], burst["addr"] + WORD_BYTES * (burst["len"] + 1)
    inside = window[0] <= first and behind <= window[1]
    assert inside, f"{kind} of {first:#x}..{behind - 1:#x} issued, outside {window[0]:#x}..{window[1] - 1:#x}"


class _Pauses:
    """Pauses of channels by the named pattern; a pause generator of each channel would be one more task in every cycle."""

    def __init__(self, dut: Any, held: str, rng: random.Random) -> None:
        self._held, self._rng = held, rng
        self._patterns: list[tuple[Any, Pattern]] = []
        if held != "never":
            every_cycle(dut, self._step)

    def add(self, channels: list[Any]) -> None:
        """Pause these, too."""
        self._patterns += [(channel, pattern(self._held, self._rng)) for channel in channels]
        for name in list(logging.root.manager.loggerDict):
            if "axi" in name or name.startswith("cocotb."):
                logging.getLogger(name).setLevel(logging.WARNING)

    def end(self) -> None:
        """No more pauses from now on."""
        self._patterns.clear()

    def _step(self, _: bool) -> None:
        for channel, paused in self._patterns:
            channel.pause = next(paused)


def _intercept(channel: Any, change: Callable[[Any], None]) -> None:
    """Have every transaction that is sent on a channel changed first."""
    send = channel.send

    async def changed(item: Any) -> None:
        change(item)
        await send(item)

    channel.send = changed
