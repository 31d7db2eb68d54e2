"""Writes the 3x3 windows of a raw image to external memory."""

import functools
import operator
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.memory import IMAGE_CHANNELS, tensor_words, window_bytes
from hw.contract.numerics import ACTIVATION_BITS
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from hw.rtl.arbiter import QUEUE_DEPTH
from hw.rtl.image_rows import PIXEL, pixel_read
from hw.rtl.interfaces import JOB, WRITE
from hw.rtl.queue import Queue

PLANES = tensor_words(SMALL_TAPS * IMAGE_CHANNELS, 1, 1)
"""Words of one window at most."""


class ImageWindows(wiring.Component):
    """For every output pixel, row-major, the activations of the pixels around stride * (output row, output column).

    Channel tap * input_channels + c of the output tensor is channel c under the tap, 0 outside the image; a window's words
    are written plane by plane, bytes without a channel as 0.

    For each output row it walks the input columns, a column of three pixels a cycle; a column completes the window around
    the column before it.

    Parameters: `config`.

    Members: `job`; `start` begins, once the job before is done; `rows_done` in: first image row not yet in the row buffers;
    `rows_needed_from` out: lowest image row that will still be read; `pixel_read`: the row buffers' read port; `write` out;
    `done` from the cycle after the last word was taken until the next `start`, counting from the cycle after the pulse.

    Latency: 6 cycles from a row's being done to its first write. Throughput: 1 word a cycle; a cycle is lost for every column
    that completes no window: one an output row, and with stride 2 one an output pixel; and two more before an output row.
    Stalls with `write`, and before an output row until the row below its centre (within the image) is done.
    """

    job: data.View
    start: Signal
    rows_done: Signal
    rows_needed_from: Signal
    pixel_read: Any
    write: stream.Interface
    done: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "rows_done": In(DIMENSION_BITS),
                "rows_needed_from": Out(DIMENSION_BITS),
                "pixel_read": Out(pixel_read(config)),
                "write": Out(WRITE),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        advance, shift = Signal(), Signal()
        active, valid, first_column, completes = self._walk(m, advance)
        read, read_first, read_completes = Signal(), Signal(), Signal()
        m.d.comb += advance.eq(~read | shift)
        with m.If(advance):
            m.d.sync += [read.eq(valid), read_first.eq(first_column), read_completes.eq(completes)]

        # Words leave through a queue, so that nothing here waits for memory's arbiter in the same cycle.
        m.submodules.words = words = Queue(self.write.payload.shape(), QUEUE_DEPTH)
        wiring.connect(m, words.output, wiring.flipped(self.write))
        waiting = Signal(range(QUEUE_DEPTH + 1))
        m.d.sync += waiting.eq(waiting + (words.input.valid & words.input.ready) - (self.write.valid & self.write.ready))

        full, word_written, last_plane = Signal(), Signal(), Signal()
        m.d.comb += [
            shift.eq(read & (~full | (word_written & last_plane))),
            word_written.eq(full & words.input.ready),
            words.input.valid.eq(full),
            self.done.eq(~active & ~read & ~full & (waiting == 0)),
        ]
        column = data.ArrayLayout(PIXEL, SMALL_KERNEL)
        columns = [Signal(column, reset_less=True, name=f"column_{index}") for index in range(SMALL_KERNEL)]
        with m.If(word_written & last_plane):
            m.d.sync += full.eq(0)
        with m.If(shift):
            m.d.sync += [
                full.eq(read_completes),
                columns[0].eq(columns[1]),
                Value.cast(columns[1]).eq(Mux(read_first, 0, Value.cast(columns[2]))),  # left of the image
                columns[2].eq(self.pixel_read.pixels),
            ]
        self._write(m, words.input.payload, word_written, last_plane, columns)
        return m

    def _walk(self, m: Module, advance: Signal) -> tuple[Signal, Signal, Value, Value]:
        """Walks output rows and input columns; returns whether any are left, whether one is read, and what it is."""
        job, port = self.job, self.pixel_read
        active, valid, completes, bottom, row_ends = Signal(), Signal(), Signal(), Signal(), Signal()
        row, rows_left, columns_left = (Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "columns_left"))
        column, row_next = Signal(DIMENSION_BITS + 1), Signal(DIMENSION_BITS + 1)
        # `bottom`, `lowest_read` and `there` follow the row by one and two cycles, in which nothing is read.
        last_row, lowest_read, there, settled = Signal.like(row), Signal.like(row), Signal(), Signal(2)
        m.d.sync += [
            last_row.eq(job.input_height - 1),
            bottom.eq(row == last_row),
            lowest_read.eq(Mux(row == last_row, row, row + 1)),
            there.eq(self.rows_done > lowest_read),
            settled.eq(Mux(self.start | row_ends, 0, Cat(1, settled))),
        ]
        m.d.comb += [
            row_next.eq(row + 1 + job.stride_two),
            valid.eq(active & there & settled[-1]),
            row_ends.eq(valid & advance & completes & (columns_left == 1)),
            completes.eq(Mux(job.stride_two, column[0], column != 0)),
            port.enable.eq(valid & advance),
            port.row.eq(row),
            port.address.eq(column),
            port.inside.eq(Cat(row != 0, 1, ~bottom) & (column != job.input_width).replicate(SMALL_KERNEL)),
        ]
        with m.If(valid & advance):
            m.d.sync += [column.eq(column + 1), columns_left.eq(columns_left - completes)]
            with m.If(row_ends):
                m.d.sync += [column.eq(0), columns_left.eq(job.output_width)]
                m.d.sync += [row.eq(row_next), self.rows_needed_from.eq(row_next - 1)]
                m.d.sync += [rows_left.eq(rows_left - 1), active.eq(rows_left != 1)]
        with m.If(self.start):
            m.d.sync += [row.eq(0), self.rows_needed_from.eq(0), rows_left.eq(job.output_rows), active.eq(1)]
            m.d.sync += [column.eq(0), columns_left.eq(job.output_width)]
        return active, valid, column == 0, completes

    def _write(self, m: Module, output: data.View, written: Signal, last_plane: Signal, columns: list[Signal]) -> None:
        """Words of the window, plane by plane, and their addresses; `plane` is one-hot."""
        plane, planes, word = Signal(PLANES, init=1), Signal(PLANES), Signal(WORD_BITS)
        m.d.sync += planes.eq(Cat(self.job.planes == count for count in range(1, PLANES + 1)))
        pixel_address, address = Signal.like(output.address), Signal.like(output.address)
        m.d.comb += [
            last_plane.eq((plane & planes).any()),
            output.address.eq(address),
            output.data.eq(word),
            output.strobe.eq(~0),
        ]
        with m.If(written):
            m.d.sync += [plane.eq(plane << 1), address.eq(address + self.job.plane_words)]
            with m.If(last_plane):
                m.d.sync += [plane.eq(1), pixel_address.eq(pixel_address + 1), address.eq(pixel_address + 1)]
        with m.If(self.start):
            m.d.sync += [pixel_address.eq(self.job.output_address), address.eq(self.job.output_address)]
        taps = [columns[tap % SMALL_KERNEL][tap // SMALL_KERNEL] for tap in range(SMALL_TAPS)]
        channels = Signal(IMAGE_CHANNELS)
        m.d.sync += channels.eq(Cat(self.job.input_channels == count for count in range(1, IMAGE_CHANNELS + 1)))
        m.d.comb += word.eq(self._word(channels, plane, taps))

    def _word(self, of_channels: Signal, plane: Signal, taps: list[Value]) -> Value:
        """Word `plane` of the window: one-hot selects and an OR take half the logic of multiplexers."""
        terms = []
        for channels in range(1, IMAGE_CHANNELS + 1):
            window = Cat(Value.cast(tap)[: channels * ACTIVATION_BITS] for tap in taps)
            for index in range(tensor_words(SMALL_TAPS * channels, 1, 1)):
                held = window_bytes(SMALL_TAPS * channels)[index * CHANNELS_PER_WORD : (index + 1) * CHANNELS_PER_WORD]
                part = Cat(window.word_select(channel, ACTIVATION_BITS) for channel in held)
                chosen = of_channels[channels - 1] & plane[index]
                terms.append(part & chosen.replicate(len(part)))
        return functools.reduce(operator.or_, terms)
