"""Reads raw images and turns their bytes into activations."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, IMAGE_ROW_BANKS, ArchonConfig, index_bits
from hw.contract.descriptor import PIXEL_BITS
from hw.contract.layout import WORD_BITS
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS
from hw.contract.numerics import ACTIVATION_BITS
from hw.rtl.image_rows import pixel_write
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.prefetch import Prefetcher

PIPELINE_CYCLES = 2
"""From a byte to its pixel's write."""

_BYTE_BITS = index_bits(CHANNELS_PER_WORD)


class LevelTable(wiring.Component):
    """The activation of every value of a pixel's byte.

    Members: while `fill`, the next row of the table takes `word` (hw.contract.memory.pack_levels), from row 0 on; `filled`
    in the cycle of the last one; `enable` looks up `value`, whose activation is `level` from the next cycle until the next
    look-up. One row and one look-up a cycle.
    """

    fill: Signal
    word: Signal
    filled: Signal
    enable: Signal
    value: Signal
    level: Signal

    def __init__(self) -> None:
        members = {"fill": In(1), "word": In(WORD_BITS), "filled": Out(1)}
        super().__init__(members | {"enable": In(1), "value": In(ACTIVATION_BITS), "level": Out(ACTIVATION_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=WORD_BITS, depth=LEVEL_WORDS, init=[])
        write, read = rows.write_port(), rows.read_port()
        row, byte = Signal(range(LEVEL_WORDS)), Signal(_BYTE_BITS, reset_less=True)
        m.d.comb += [
            write.en.eq(self.fill),
            write.addr.eq(row),
            write.data.eq(self.word),
            self.filled.eq(self.fill & (row == LEVEL_WORDS - 1)),
            # Looking up and filling never meet; saying so spares synthesis the logic for it.
            read.en.eq(self.enable & ~self.fill),
            read.addr.eq(self.value[_BYTE_BITS:]),
            self.level.eq(read.data.word_select(byte, ACTIVATION_BITS)),
        ]
        with m.If(self.fill):
            m.d.sync += row.eq(row + 1)
        with m.If(self.enable):
            m.d.sync += byte.eq(self.value[:_BYTE_BITS])
        return m


@dataclass
class _Place:
    """Where in the image a byte belongs, and what ends with it."""

    row: Signal
    column: Signal
    channel: Signal
    pixel_ends: Signal
    row_ends: Signal
    image_ends: Signal


class ImageLoader(wiring.Component):
    """Takes the bytes of a raw image through the table of levels, pixel by pixel, into the row buffers.

    Parameters: `config`.

    Members: `next_job`, `start_levels` reads its table of levels as soon as the bytes of the image before are taken,
    `levels_done` from the last row of the table until the next `start_levels`; `job`, `start` reads its image, once the levels
    are done and the image before is; `done` from its last pixel until the next `start`, counting from the cycle after the
    pulse in both cases; `read_request`, `read_data`; `rows_needed_from` in: lowest row that may still be read from the row
    buffers; `pixel_write` out; `rows_done` out: first row not completely written yet; `busy` while a word of the table or a
    byte of the image is taken, `blocked` while one waits for room in the row buffers.

    Latency PIPELINE_CYCLES from a byte to its pixel's write. Throughput one word of the table, one
    byte of the image a cycle. Stalls only before a row, for two cycles and until it is less than 4 above `rows_needed_from`.
    """

    job: data.View
    next_job: data.View
    start_levels: Signal
    levels_done: Signal
    start: Signal
    done: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    rows_needed_from: Signal
    pixel_write: Any
    rows_done: Signal
    busy: Signal
    blocked: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "next_job": In(JOB),
                "start_levels": In(1),
                "levels_done": Out(1),
                "start": In(1),
                "done": Out(1),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "rows_needed_from": In(DIMENSION_BITS),
                "pixel_write": Out(pixel_write(config)),
                "rows_done": Out(DIMENSION_BITS),
                "busy": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = Prefetcher(PIXEL_BITS, self._config.queues.image)
        m.submodules.table = table = LevelTable()
        wiring.connect(m, fetch.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), fetch.read_data)
        words, byte = fetch.output, Signal(_BYTE_BITS)
        due, taken = Signal(), Signal()
        place = self._walk(m, taken)
        m.d.comb += [
            table.word.eq(words.payload),
            table.enable.eq(taken),
            self.busy.eq(taken | table.fill),
            table.value.eq(words.payload.word_select(byte, ACTIVATION_BITS)),
        ]
        with m.If(self.start_levels):
            m.d.sync += due.eq(1)
        # Room for a row is known two cycles after the row before, in which nothing is taken.
        limit, fits, settled = Signal(DIMENSION_BITS + 1), Signal(), Signal(2)
        m.d.sync += [
            limit.eq(self.rows_needed_from + IMAGE_ROW_BANKS),
            fits.eq(place.row < limit),
            settled.eq(Mux(self.start | (taken & place.row_ends), 0, Cat(1, settled))),
        ]

        with m.FSM() as control:
            m.d.comb += self.levels_done.eq(~due & ~control.ongoing("LEVELS"))
            with m.State("IDLE"):
                with m.If(self.start):
                    self._begin(m, fetch, self.job.input_address, self.job.segment)
                    m.next = "PIXELS"
                with m.Elif(due):
                    self._begin(m, fetch, self.next_job.table_address, LEVEL_WORDS)
                    m.d.sync += due.eq(0)
                    m.next = "LEVELS"
            with m.State("LEVELS"):
                m.d.comb += [words.ready.eq(1), table.fill.eq(words.valid)]
                with m.If(table.filled):
                    m.next = "IDLE"
            with m.State("PIXELS"):
                word_ends = (byte == CHANNELS_PER_WORD - 1) | place.image_ends
                m.d.comb += [
                    taken.eq(words.valid & fits & settled[-1]),
                    words.ready.eq(taken & word_ends),
                    self.blocked.eq(words.valid & ~taken),
                ]
                with m.If(taken):
                    m.d.sync += byte.eq(byte + 1)
                with m.If(taken & place.image_ends):
                    m.d.sync += byte.eq(0)
                    m.next = "IDLE"
        self._write(m, taken, place, table.level)
        return m

    def _begin(self, m: Module, fetch: Prefetcher, address: Value, words: Value | int) -> None:
        m.d.comb += [fetch.start.eq(1), fetch.address.eq(address), fetch.words.eq(words)]

    def _walk(self, m: Module, taken: Signal) -> _Place:
        """Counts rows, columns and channels."""
        job = self.job
        row, column, channel = Signal(DIMENSION_BITS), Signal(DIMENSION_BITS), Signal(range(IMAGE_CHANNELS))
        pixel_ends, row_ends, image_ends = Signal(), Signal(), Signal()
        # The job's last ones come from registers: it stands from `start` on.
        last_row, last_column, last_channel = Signal.like(row), Signal.like(column), Signal.like(channel)
        m.d.sync += [
            last_row.eq(job.input_height - 1),
            last_column.eq(job.input_width - 1),
            last_channel.eq(job.input_channels - 1),
        ]
        m.d.comb += [
            pixel_ends.eq(channel == last_channel),
            row_ends.eq(pixel_ends & (column == last_column)),
            image_ends.eq(row_ends & (row == last_row)),
        ]
        with m.If(taken):
            m.d.sync += channel.eq(channel + 1)
            with m.If(pixel_ends):
                m.d.sync += [channel.eq(0), column.eq(column + 1)]
            with m.If(row_ends):
                m.d.sync += [column.eq(0), row.eq(row + 1)]
        with m.If(self.start):
            m.d.sync += [row.eq(0), column.eq(0), channel.eq(0)]
        return _Place(row, column, channel, pixel_ends, row_ends, image_ends)

    def _write(self, m: Module, taken: Signal, place: _Place, level: Value) -> None:
        """Collect a pixel's activations, which come the cycle after their bytes, in the register that is written."""
        bus, never = self.pixel_write, Const(0)
        in_table, complete = delay_flags(m, taken, 1, never)[-1], delay_flags(m, taken & place.pixel_ends, 2, never)[-1]
        channel = delay(m, place.channel, 1)
        with m.If(in_table):
            m.d.sync += bus.pixel[channel].eq(level)
        m.d.comb += [
            bus.valid.eq(complete),
            bus.row.eq(delay(m, place.row, PIPELINE_CYCLES)),
            bus.address.eq(delay(m, place.column, PIPELINE_CYCLES)),
            self.done.eq(self.rows_done == self.job.input_height),
        ]
        with m.If(complete & delay(m, place.row_ends, PIPELINE_CYCLES)):
            m.d.sync += self.rows_done.eq(self.rows_done + 1)
        with m.If(self.start):
            m.d.sync += self.rows_done.eq(0)
