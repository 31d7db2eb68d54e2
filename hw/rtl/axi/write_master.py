"""Writes external memory over AXI4."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import WORD_BYTES, Response
from hw.contract.layout import WORD_BITS
from hw.rtl.axi.interfaces import (
    AXI_WRITE,
    BEAT_SIZE,
    BYTE_WRITE,
    CACHE,
    FAILURE,
    INCREMENTING,
    PROTECTION,
    WIDE_ADDRESS_BITS,
    WINDOW,
)
from hw.rtl.axi.window_guard import WindowGuard
from hw.rtl.queue import Queue

OUTSTANDING = 64
"""Writes whose response has not come."""


class WriteMaster(wiring.Component):
    """Writes single words, many of them outstanding.

    After `outside` or `failed`, `stop` must be high from the next cycle until `busy` is low: no new write is issued then. What
    is offered to memory stays offered, and a write whose address was taken gets its data.

    Members: `writes` in; `window` that may be written, `outside` where a write was not issued; `failed` where memory answered
    with an error; `stop`; `busy`: writes are on offer, or memory has not answered; `word_taken` memory answered without error;
    `axi`.

    Latency 1 cycle from `writes` to address and data. Throughput 1 word a cycle, at most OUTSTANDING writes ahead. Stalls with
    memory; no output of `axi` depends on an input in the same cycle.
    """

    writes: stream.Interface
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
                "writes": In(BYTE_WRITE),
                "window": In(WINDOW),
                "outside": Out(FAILURE),
                "failed": Out(FAILURE),
                "stop": In(1),
                "busy": Out(1),
                "word_taken": Out(1),
                "axi": Out(AXI_WRITE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.guard = guard = WindowGuard(WORD_BITS + WORD_BYTES)
        m.submodules.asked = asked = Queue(WIDE_ADDRESS_BITS, OUTSTANDING)
        axi, write, burst = self.axi, self.writes.payload, guard.output.payload
        wiring.connect(m, wiring.flipped(self.window), guard.window)
        wiring.connect(m, guard.outside, wiring.flipped(self.outside))
        m.d.comb += [
            guard.stop.eq(self.stop),
            guard.input.payload.address.eq(write.address),
            guard.input.payload.words.eq(1),
            guard.input.payload.extra.eq(Cat(write.data, write.strobe)),
            guard.input.valid.eq(self.writes.valid),
            self.writes.ready.eq(guard.input.ready),
        ]

        # Address and data are offered at once and taken in any order.
        address_sent, data_sent, address_taken, data_taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            axi.awaddr.eq(burst.address),
            axi.awsize.eq(BEAT_SIZE),
            axi.awburst.eq(INCREMENTING),
            axi.awcache.eq(CACHE),
            axi.awprot.eq(PROTECTION),
            axi.awvalid.eq(guard.output.valid & ~address_sent & asked.input.ready),
            Cat(axi.wdata, axi.wstrb).eq(burst.extra),
            axi.wlast.eq(1),
            axi.wvalid.eq(guard.output.valid & ~data_sent),
            address_taken.eq(axi.awvalid & axi.awready),
            data_taken.eq(axi.wvalid & axi.wready),
            guard.output.ready.eq((address_sent | address_taken) & (data_sent | data_taken)),
            asked.input.payload.eq(burst.address),
            asked.input.valid.eq(address_taken),
        ]
        m.d.sync += [
            address_sent.eq((address_sent | address_taken) & ~guard.output.ready),
            data_sent.eq((data_sent | data_taken) & ~guard.output.ready),
        ]

        outstanding, answered, good = Signal(range(OUTSTANDING + 4)), Signal(), Signal()
        m.d.comb += [
            axi.bready.eq(asked.output.valid),
            answered.eq(axi.bvalid & axi.bready),
            asked.output.ready.eq(answered),
            good.eq(axi.bresp == Response.OKAY),
            self.word_taken.eq(answered & good),
            self.failed.valid.eq(answered & ~good),
            self.failed.address.eq(asked.output.payload),
            self.busy.eq(guard.output.valid | (outstanding != 0)),
        ]
        m.d.sync += outstanding.eq(outstanding + address_taken - answered)
        return m
