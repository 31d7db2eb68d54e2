"""Reads external memory over AXI4."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import BYTE_ADDRESS_BITS, Response
from hw.contract.layout import WORD_BITS
from hw.rtl.axi.burst_splitter import BYTE_INDEX_BITS, BurstSplitter
from hw.rtl.axi.interfaces import AXI_READ, BEAT_SIZE, BURST_MEMBERS, CACHE, FAILURE, INCREMENTING, PROTECTION, WINDOW
from hw.rtl.axi.window_guard import WindowGuard
from hw.rtl.interfaces import READ_DATA, READ_REQUEST
from hw.rtl.queue import Queue

OUTSTANDING = 64
"""Bursts whose words have not all come."""

WORDS_WAITING = 4
"""Words between memory and the accelerator: the fewest that keep a queue at one word a cycle, with one to spare."""


class ReadMaster(wiring.Component):
    """Serves read requests from memory.

    A word that comes with an error is not handed over: `failed` says where it was to come from. From the cycle after, `stop`
    must be high until `busy` is low: no new burst is issued then, what was asked for before is taken and dropped, and so are
    requests that were accepted. What is offered to memory stays offered.

    Members: `read_request` (word addresses), `read_data` (in order); `base` byte address of word 0; `window` that may be read,
    `outside` where a burst was not issued; `failed`; `stop`; `busy`: bursts are on offer or outstanding; `word_taken` a word
    came without error; `axi`.

    Latency 2 cycles from request to address, 2 from memory's word to `read_data`. Throughput 1 burst and 1 word a cycle, at
    most OUTSTANDING bursts ahead. Stalls with memory and with `read_data`; no output of `axi` depends on an input in the same
    cycle.
    """

    read_request: stream.Interface
    read_data: stream.Interface
    base: Signal
    window: Any
    outside: Any
    failed: Any
    stop: Signal
    busy: Signal
    word_taken: Signal
    axi: Any

    def __init__(self) -> None:
        super().__init__(
            {
                "read_request": In(READ_REQUEST),
                "read_data": Out(READ_DATA),
                "base": In(BYTE_ADDRESS_BITS),
                "window": In(WINDOW),
                "outside": Out(FAILURE),
                "failed": Out(FAILURE),
                "stop": In(1),
                "busy": Out(1),
                "word_taken": Out(1),
                "axi": Out(AXI_READ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = ResetInserter(self.stop)(BurstSplitter())
        m.submodules.guard = guard = WindowGuard()
        m.submodules.asked = asked = Queue(data.StructLayout(BURST_MEMBERS), OUTSTANDING)
        m.submodules.words = words = ResetInserter(self.stop)(Queue(WORD_BITS, WORDS_WAITING))
        axi, burst = self.axi, guard.output.payload

        wiring.connect(m, wiring.flipped(self.read_request), splitter.read_request)
        wiring.connect(m, words.output, wiring.flipped(self.read_data))
        wiring.connect(m, wiring.flipped(self.window), guard.window)
        wiring.connect(m, guard.outside, wiring.flipped(self.outside))
        m.d.comb += [
            splitter.base.eq(self.base),
            guard.stop.eq(self.stop),
            guard.input.payload.address.eq(splitter.bursts.payload.address),
            guard.input.payload.words.eq(splitter.bursts.payload.words),
            guard.input.valid.eq(splitter.bursts.valid),
            splitter.bursts.ready.eq(guard.input.ready),
        ]

        issued = Signal()
        m.d.comb += [
            axi.araddr.eq(burst.address),
            axi.arlen.eq(burst.words - 1),
            axi.arsize.eq(BEAT_SIZE),
            axi.arburst.eq(INCREMENTING),
            axi.arcache.eq(CACHE),
            axi.arprot.eq(PROTECTION),
            axi.arvalid.eq(guard.output.valid & asked.input.ready),
            issued.eq(axi.arvalid & axi.arready),
            guard.output.ready.eq(axi.arready & asked.input.ready),
            asked.input.valid.eq(issued),
            asked.input.payload.address.eq(burst.address),
            asked.input.payload.words.eq(burst.words),
        ]
        self._words(m, asked, words, issued, guard.output.valid)
        return m

    def _words(self, m: Module, asked: Queue, words: Queue, issued: Value, offered: Value) -> None:
        """Take the words of what was asked for."""
        axi, burst = self.axi, asked.output.payload
        position, outstanding = Signal.like(burst.words), Signal(range(OUTSTANDING + 4))
        taken, good, last = Signal(), Signal(), Signal()
        m.d.comb += [
            axi.rready.eq(words.input.ready & asked.output.valid),
            taken.eq(axi.rvalid & axi.rready),
            good.eq(axi.rresp == Response.OKAY),
            last.eq(position == burst.words - 1),
            words.input.payload.eq(axi.rdata),
            words.input.valid.eq(taken & good),
            self.word_taken.eq(taken & good),
            self.failed.valid.eq(taken & ~good),
            self.failed.address.eq(burst.address + (position << BYTE_INDEX_BITS)),
            asked.output.ready.eq(taken & last),
            self.busy.eq(offered | (outstanding != 0)),
        ]
        m.d.sync += outstanding.eq(outstanding + issued - (taken & last))
        with m.If(taken):
            m.d.sync += position.eq(position + 1)
            with m.If(last):
                m.d.sync += position.eq(0)
