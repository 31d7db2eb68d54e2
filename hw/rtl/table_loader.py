"""Fills the tables of a cluster from a table segment in external memory."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.tables import SECTION_HEADER, TableKind
from hw.rtl.burst import BurstRequester
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, struct, table_row_bits, table_write

_HEADER_BITS = {item.name: item.bits for item in SECTION_HEADER.fields}
SECTION_BITS = _HEADER_BITS["words"] + _HEADER_BITS["rows"]
"""Words of one section."""


class TableLoader(wiring.Component):
    """Reads the table segment at `job.table_address` (hw/contract/tables.py) and puts its rows on the table-write bus.

    A section's rows and the header after them are asked for together; nothing after the END header is read.

    Parameters: `config`.

    Members: `job`; `start` begins, once the loader is done with the segment before; `read_request`, `read_data`;
    `table_write` one row at a time; `done` from the cycle after the last row was written until the next `start`.

    Throughput 1 word a cycle within a section; a section costs up to 10 cycles and one memory latency more. Never stalls
    `read_data` within a section.
    """

    job: data.View
    start: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    table_write: Any
    done: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._row_words = -(-table_row_bits(config) // WORD_BITS)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "table_write": Out(table_write(config)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.requester = requester = BurstRequester(SECTION_BITS + 1)
        wiring.connect(m, wiring.flipped(self.read_request), requester.read_request)
        header = struct(SECTION_HEADER)(self.read_data.payload[: SECTION_HEADER.width])
        words_in_row = Signal(_HEADER_BITS["words"])
        section_words, addend = Signal(SECTION_BITS), Signal(SECTION_BITS)
        multiplier = Signal(_HEADER_BITS["words"])
        finished = Signal()
        m.d.comb += self.done.eq(finished & ~self.start)
        m.d.sync += self.table_write.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.comb += [
                        requester.start.eq(1),
                        requester.address.eq(self.job.table_address),
                        requester.words.eq(1),
                        requester.restart.eq(1),
                    ]
                    m.d.sync += finished.eq(0)
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.read_data.ready.eq(1)
                with m.If(self.read_data.valid):
                    m.d.sync += [
                        self.table_write.kind.eq(header.kind),
                        self.table_write.lane.eq(header.lane),
                        words_in_row.eq(header.words),
                        section_words.eq(0),
                        addend.eq(header.rows),
                        multiplier.eq(header.words),
                    ]
                    with m.If(header.kind == TableKind.END):
                        m.d.sync += finished.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "SIZE"
            with m.State("SIZE"):
                # words * rows, one bit of `words` a cycle: seldom more than four.
                m.d.sync += [addend.eq(addend << 1), multiplier.eq(multiplier >> 1)]
                with m.If(multiplier[0]):
                    m.d.sync += section_words.eq(section_words + addend)
                with m.If(multiplier == 0):
                    m.d.comb += [requester.start.eq(1), requester.words.eq(section_words + 1)]
                    m.next = "ROWS"
            with m.State("ROWS"):
                self._collect_rows(m, section_words, words_in_row)
                with m.If(section_words == 0):
                    m.next = "HEADER"
        return m

    def _collect_rows(self, m: Module, section_words: Signal, words_in_row: Signal) -> None:
        """Lay words side by side until a row is complete; `section_words` counts down."""
        index = Signal.like(words_in_row)
        row = Signal.like(self.table_write.row)
        buffer = Signal(self._row_words * WORD_BITS)
        last = Signal()
        m.d.comb += [
            self.table_write.data.eq(buffer),
            self.read_data.ready.eq(section_words != 0),
            last.eq(index == words_in_row - 1),
        ]
        with m.If(section_words == 0):
            m.d.sync += row.eq(0)
        with m.Elif(self.read_data.valid):
            m.d.sync += [
                section_words.eq(section_words - 1),
                index.eq(Mux(last, 0, index + 1)),
                row.eq(row + last),
                self.table_write.row.eq(row),
                self.table_write.valid.eq(last),
            ]
            for position in range(self._row_words):
                with m.If(index == position):
                    m.d.sync += _word(buffer, position).eq(self.read_data.payload)


def _word(buffer: Signal, position: int) -> Value:
    return buffer[position * WORD_BITS : (position + 1) * WORD_BITS]
