"""Fills the tables of a cluster from a table segment in external memory."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.rules import outputs_of_pixel
from hw.contract.tables import SECTION_HEADER, SHARED, TableKind, table_depth, table_layout
from hw.contract.taps import SMALL_KERNEL
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, drive, struct, table_row_bits, table_write
from hw.rtl.lane_table_loader import LaneTableLoader
from hw.rtl.prefetch import Prefetcher

_OF_FIXED = (TableKind.LANES, TableKind.REQUANTIZE)
"""Sections that every job has."""

_SECTIONS = (*SHARED, TableKind.LANES)
"""Sections of a job with a predictor."""

_HEADER_BITS = {item.name: item.bits for item in SECTION_HEADER.fields}


_LANES_LATENCY = 16
"""Cycles, besides one a lane, after which the lanes' loader has ended that has all its words; it needs fewer."""


class TableLoader(wiring.Component):
    """Reads the table segment of `job` (hw/contract/tables.py) and puts its rows on the table-write buses.

    Parameters: `config`.

    Members: `job`; `start` begins, once the loader is done with the segment before; `read_request`, `read_data`;
    `table_write` rows of the shared tables, `lane_writes[l]` those of lane l's own; `done` from the cycle after the last
    row was written until the next `start`; `bad`: the segment is not what the job needs, so that the loader waits for a reset.
    It ends within a section, lacks one or has one twice, or a header does not fit its table and the job (but for
    the rows of EXPAND, which only its memory limits).

    Throughput 1 word a cycle in sections of shared tables, else that of LaneTableLoader; a section costs 4 cycles more. Asks
    only for words that its queue has room for, so that it never stalls `read_data`.
    """

    job: data.View
    start: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    table_write: Any
    lane_writes: list[Any]
    done: Signal
    bad: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        self._patience = config.lanes + _LANES_LATENCY
        self._row_words = -(-table_row_bits(config) // WORD_BITS)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "table_write": Out(table_write(config)),
                "lane_writes": Out(table_write(config)).array(config.lanes),
                "done": Out(1),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self._fetch(m)
        m.submodules.lanes = lanes = LaneTableLoader(self._config)
        # A section's header is looked at in a register: what follows from it goes far.
        first_word = Signal(WORD_BITS)
        header = struct(SECTION_HEADER)(first_word[: SECTION_HEADER.width])
        words_left = Signal.like(self.job.table_words)
        words_in_row, rows_left = Signal(_HEADER_BITS["words"]), Signal(_HEADER_BITS["rows"])
        buffer, finished = Signal(self._row_words * WORD_BITS), Signal()
        m.d.comb += [
            self.table_write.half.eq(self.job.half),
            self.table_write.data.eq(buffer),
            self.done.eq(finished & ~self.start),
            lanes.job.eq(self.job),
            lanes.slices.eq(header.rows),
            lanes.words.payload.eq(words.payload),
        ]
        m.d.sync += self.table_write.valid.eq(0)
        for bus, rows in zip(self.lane_writes, lanes.table_writes, strict=True):
            m.d.comb += drive(bus, rows)
        with m.If(words.valid & words.ready):
            m.d.sync += words_left.eq(words_left - 1)

        begins, patience = Signal(), Signal(range(self._patience + 1))
        fits, complete = self._check_sections(m, header, first_word[SECTION_HEADER.width :], begins)
        m.d.sync += patience.eq(0)
        with m.FSM() as control:
            m.d.comb += self.bad.eq(control.ongoing("BAD"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [finished.eq(0), words_left.eq(self.job.table_words)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += words.ready.eq(1)
                m.d.sync += first_word.eq(words.payload)
                with m.If(words_left == 0):
                    m.d.sync += finished.eq(complete)
                    m.next = "IDLE"
                    with m.If(~complete):
                        m.next = "BAD"
                with m.Elif(words.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [self.table_write.kind.eq(header.kind), words_in_row.eq(header.words), rows_left.eq(header.rows)]
                with m.If(~fits):
                    m.next = "BAD"
                with m.Else():
                    m.d.comb += begins.eq(1)
                    m.next = "ROWS"
                    with m.If(header.kind == TableKind.LANES):
                        m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += lanes.begin.eq(1)
                m.next = "LANES"
            with m.State("ROWS"):
                self._collect_rows(m, words, words_in_row, rows_left, buffer)
                with m.If(words_left == 0):
                    m.next = "BAD"
            with m.State("LANES"):
                m.d.comb += [lanes.words.valid.eq(words.valid), words.ready.eq(lanes.words.ready)]
                with m.If(words_left == 0):
                    m.d.sync += patience.eq(patience + 1)
                with m.If(~lanes.busy):
                    m.next = "HEADER"
                with m.Elif(patience == self._patience):
                    m.next = "BAD"
            with m.State("BAD"):
                pass
        return m

    def _check_sections(self, m: Module, header: data.View, rest: Value, begins: Value) -> tuple[Signal, Signal]:
        """Whether `header` may come now, and whether the job has all its sections; `begins`: it comes."""
        fits, complete = Signal(), Signal()
        seen = Signal(len(TableKind))
        with m.Switch(header.kind):
            for kind in _SECTIONS:
                with m.Case(kind):
                    m.d.comb += fits.eq(self._fits(kind, header) & ~seen[kind] & (rest == 0))
        of_fixed, of_fused = (sum(1 << kind for kind in kinds) for kinds in (_OF_FIXED, _SECTIONS))
        m.d.comb += complete.eq(seen == Mux(self.job.fixed, of_fixed, of_fused))
        with m.If(self.start):
            m.d.sync += seen.eq(0)
        with m.Elif(begins):
            m.d.sync += seen.eq(seen | (1 << header.kind))
        return fits, complete

    def _fits(self, kind: TableKind, header: data.View) -> Value:
        """Rows and words of a section are those that the job needs."""
        config = self._config
        if kind is TableKind.EXPAND:
            rows = (header.rows != 0) & (header.rows <= table_depth(kind, config))
        else:
            needed = outputs_of_pixel(self.job, Mux) if kind is TableKind.REQUANTIZE else self.job.slices
            rows = header.rows == needed
        words: Value = header.words == table_layout(kind, config).words if kind is not TableKind.LANES else Const(1)
        if kind is TableKind.DEPTHWISE:
            words = header.words == Mux(
                self.job.kernel_five, table_layout(kind, config).words, table_layout(kind, config, SMALL_KERNEL).words
            )
        return rows & words & (Const(1) if kind in _OF_FIXED else ~self.job.fixed)

    def _fetch(self, m: Module) -> stream.Interface:
        """The segment's words, asked for ahead."""
        m.submodules.fetch = fetch = Prefetcher(len(self.job.table_words), self._config.queues.table)
        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.address.eq(self.job.table_address),
            fetch.words.eq(self.job.table_words),
        ]
        wiring.connect(m, fetch.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), fetch.read_data)
        return fetch.output

    def _collect_rows(
        self, m: Module, words: stream.Interface, words_in_row: Signal, rows_left: Signal, buffer: Signal
    ) -> None:
        """Lay words side by side until a row is complete, row after row."""
        index = Signal.like(words_in_row)
        row = Signal.like(self.table_write.row)
        last = Signal()
        m.d.comb += [words.ready.eq(1), last.eq(index == words_in_row - 1)]
        m.d.sync += self.table_write.row.eq(row)
        with m.If(words.valid):
            m.d.sync += [index.eq(index + 1), self.table_write.valid.eq(last)]
            for position in range(self._row_words):
                with m.If(index == position):
                    m.d.sync += _word(buffer, position).eq(words.payload)
            with m.If(last):
                m.d.sync += [index.eq(0), row.eq(row + 1), rows_left.eq(rows_left - 1)]
                with m.If(rows_left == 1):
                    m.d.sync += row.eq(0)
                    m.next = "HEADER"


def _word(buffer: Signal, position: int) -> Value:
    return buffer[position * WORD_BITS : (position + 1) * WORD_BITS]
