"""Writes job reports, and other rows, to memory."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.axi import BYTE_ADDRESS_BITS, WORD_BYTES
from hw.contract.layout import WORD_BITS, Layout
from hw.contract.registers import BY_NAME
from hw.rtl.axi.burst_splitter import BYTE_INDEX_BITS
from hw.rtl.axi.interfaces import BYTE_WRITE, WIDE_ADDRESS_BITS
from hw.rtl.interfaces import struct

CAPACITY_BITS = BY_NAME["report_capacity"].layout.width


class ReportWriter(wiring.Component):
    """Appends reports to the list that begins at a byte address.

    Parameters: `layout` of what is to be appended, REPORT by default.

    Members: `reports` in; `start` begins a new list of at most `capacity` reports at `base`, of which whole words count:
    reports beyond are taken and dropped; `writes` out, layout.words a report, its last one filled up with zeros; `busy` from
    the cycle after a report was taken until its last word has left.

    Latency 1 cycle, throughput 1 report in layout.words + 1 cycles; stalls with `writes`.
    """

    reports: stream.Interface
    start: Signal
    base: Signal
    capacity: Signal
    writes: stream.Interface
    busy: Signal

    def __init__(self, layout: Layout = descriptor.REPORT) -> None:
        self._words = layout.words
        super().__init__(
            {
                "reports": In(stream.Signature(struct(layout))),
                "start": In(1),
                "base": In(BYTE_ADDRESS_BITS),
                "capacity": In(CAPACITY_BITS),
                "writes": Out(BYTE_WRITE),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self._words
        kept = Signal(words * WORD_BITS)
        missing, room = Signal(range(words + 1)), Signal(CAPACITY_BITS)
        address = Signal(WIDE_ADDRESS_BITS)
        write = self.writes.payload
        m.d.comb += [
            self.busy.eq(missing != 0),
            self.reports.ready.eq(~self.busy),
            write.address.eq(address),
            write.data.eq(kept),
            write.strobe.eq((1 << WORD_BYTES) - 1),
            self.writes.valid.eq(self.busy),
        ]
        with m.If(self.writes.valid & self.writes.ready):
            m.d.sync += [address.eq(address + WORD_BYTES), kept.eq(kept >> WORD_BITS), missing.eq(missing - 1)]
        with m.If(self.reports.valid & self.reports.ready & (room != 0)):
            m.d.sync += [kept.eq(Value.cast(self.reports.payload)), missing.eq(words), room.eq(room - 1)]
        with m.If(self.start):
            m.d.sync += [address.eq(self.base >> BYTE_INDEX_BITS << BYTE_INDEX_BITS), room.eq(self.capacity)]
        return m
