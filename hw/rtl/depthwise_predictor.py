"""Second predictor layer: ternary 3x3 sums of 4-bit levels, thresholds, and the masks that the lanes work from."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, KERNEL, TAPS, ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import add_with_carry, ternary_sum
from hw.rtl.interfaces import JOB, slice_word, table_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.queue import Queue
from hw.rtl.row_store import BANK_BITS, READ_LATENCY, level_read, rows_done, rows_reading
from hw.rtl.table_memory import TableMemory


@dataclass
class _Issue:
    """What one cycle issues into the pipeline: one slice of one input column, and the window that it completes, if any."""

    valid: Signal
    slice: Signal
    first_column: Signal
    window: Signal
    last_slice: Signal


@dataclass
class _Column:
    """The next input column to begin: centre row, place in the row store, what lies in the image, which window it completes."""

    permitted: Signal
    row: Signal
    address: Signal
    inside: Value
    first_column: Value
    window: Value
    row_end: Value


class DepthwisePredictor(wiring.Component):
    """Gives, for every output pixel (row-major) and slice, which ReLUs survive.

    The window's centre is stride * (output row, output column). m1[p][d] = r1[p][d] != 0, and
    m2[p] = sum_d TD[p][d] * r1[p][d] > threshold[p]; taps outside the image have r1 = 0.

    For each output row it walks the input columns, one slice a cycle: the new column comes from the row store, the two
    before it from a memory of its own, which then takes the newer two of the three.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the DEPTHWISE table; `done` in: what is in the row store; `reading` out: what
    may still be read from it; `level_read`: its read port; `words` out: a stream of slice_word, `last` on each pixel's last
    slice.

    Latency: PIPELINE_CYCLES and the output queue's 2. Throughput: one slice of an input column a cycle, at least
    COLUMN_CYCLES a column; an output row takes one column more than the input is wide. Stalls before a column until the
    row below its centre (within the image) is done up to there, and when all words that the output queue can take are under
    way. `start` abandons whatever was going on. The job's rows, columns and slices must be at least 1.
    """

    PIPELINE_CYCLES = READ_LATENCY + 3
    COLUMN_CYCLES = READ_LATENCY + 1
    """Cycles from the read of a slice's older columns to the next column's: the write is between them."""
    QUEUE_WORDS = PIPELINE_CYCLES + 4
    """Words under way or queued; enough that a reader who never stalls gets one a cycle."""

    job: data.View
    start: Signal
    table_write: Any
    done: Any
    reading: Any
    level_read: Any
    words: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "done": In(rows_done()),
                "reading": Out(rows_reading()),
                "level_read": Out(level_read(config)),
                "words": Out(stream.Signature(slice_word(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        queue = Queue(slice_word(self._config), self.QUEUE_WORDS)
        m.submodules.queue = ResetInserter(self.start)(queue)
        wiring.connect(m, queue.output, wiring.flipped(self.words))

        # Windows are begun only when the queue will have room for their word, so that the pipeline itself never stalls.
        room = Signal(range(self.QUEUE_WORDS + 1))
        taken, begun = Signal(), Signal()
        issue = self._sequence(m, room != 0)
        m.d.comb += [taken.eq(self.words.valid & self.words.ready), begun.eq(issue.valid & issue.window)]
        with m.If(self.start):
            m.d.sync += room.eq(self.QUEUE_WORDS)
        with m.Else():
            m.d.sync += room.eq(room - begun + taken)

        self._compute(m, self._columns(m, issue), issue, queue)
        m.d.comb += [
            queue.input.valid.eq(delay_flags(m, begun, self.PIPELINE_CYCLES, self.start)[-1]),
            queue.input.payload.last.eq(delay(m, issue.last_slice, self.PIPELINE_CYCLES)),
        ]
        return m

    def _columns(self, m: Module, issue: _Issue) -> list[data.View]:
        """The window's three columns READ_LATENCY cycles after the issue, each an array of three level words."""
        newest = self.level_read.levels
        layout = data.ArrayLayout(newest.shape(), KERNEL - 1)
        m.submodules.window = window = memory.Memory(shape=layout, depth=self._config.depths.slices, init=[])
        write, read = window.write_port(), window.read_port()
        older = Signal(layout, reset_less=True)
        with m.If(delay(m, issue.first_column, READ_LATENCY - 1)):
            m.d.sync += Value.cast(older).eq(0)  # left of the image
        with m.Else():
            m.d.sync += older.eq(read.data)
        m.d.comb += [
            read.en.eq(issue.valid),
            read.addr.eq(issue.slice),
            write.en.eq(delay_flags(m, issue.valid, READ_LATENCY, self.start)[-1]),
            write.addr.eq(delay(m, issue.slice, READ_LATENCY)),
            write.data.eq(Cat(older[1], newest)),
        ]
        return [older[0], older[1], newest]

    def _compute(self, m: Module, columns: list[data.View], issue: _Issue, queue: Queue) -> None:
        """Masks from the window's columns, which arrive with the registered table row."""
        m.submodules.depthwise = table = TableMemory(TableKind.DEPTHWISE, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        m.d.comb += [
            table.enable.eq(1),
            table.half.eq(self.job.half),
            table.address.eq(delay(m, issue.slice, READ_LATENCY - 2)),
        ]
        for channel in range(self._config.slice_channels):
            weights = [delay(m, Value.cast(table.row.weights[channel * TAPS + tap]), 1) for tap in range(TAPS)]
            threshold = delay(m, table.row.thresholds[channel], 2)
            levels = [Value.cast(columns[tap % KERNEL][tap // KERNEL][channel]) for tap in range(TAPS)]
            sums, carries = [], []
            for row in range(0, TAPS, KERNEL):
                total, carry = ternary_sum(levels[row : row + KERNEL], weights[row : row + KERNEL])
                sums.append(delay(m, total, 1))
                carries.append(delay(m, carry, 1))
            # sum > threshold is sum - threshold - 1 >= 0, and ~threshold = -threshold - 1.
            upper = delay(m, add_with_carry(sums[0], sums[1], carries[0]), 1)
            lower = delay(m, add_with_carry(sums[2], ~threshold, carries[1]), 1)
            margin = add_with_carry(upper, lower, delay(m, carries[2], 1))
            m.d.comb += queue.input.payload.second[channel].eq(delay(m, ~margin[-1], 1))
            for tap in range(TAPS):
                m.d.comb += queue.input.payload.first[channel][tap].eq(delay(m, levels[tap].any(), 3))

    def _sequence(self, m: Module, room: Value) -> _Issue:
        """The slices of a column, and what has been read; a column completes the window around the column before it."""
        job, read = self.job, self.level_read
        active, valid, begin, last_slice, first_column, window, row_end = (
            Signal(name=name) for name in ("active", "valid", "begin", "last_slice", "first_column", "window", "row_end")
        )
        slices_left, slice_index = Signal.like(job.slices), Signal(index_bits(self._config.depths.slices))
        row, inside, address = Signal(BANK_BITS), Signal(KERNEL), Signal(index_bits(self._config.depths.row_store))
        pause = Signal(range(self.COLUMN_CYCLES))
        column = self._walk(m, begin)
        m.d.comb += [
            valid.eq(active & room & (pause == 0)),
            last_slice.eq(slices_left == 1),
            begin.eq(column.permitted & (~active | (valid & last_slice))),
            read.enable.eq(valid),
            read.row.eq(row),
            read.address.eq(address),
            read.inside.eq(inside),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(valid):
            m.d.sync += [slices_left.eq(slices_left - 1), slice_index.eq(slice_index + 1), address.eq(address + 1)]
            with m.If(last_slice):
                m.d.sync += [active.eq(0), self.reading.column.eq(self.reading.column + 1)]
                with m.If(row_end):
                    m.d.sync += [self.reading.row.eq(self.reading.next_row), self.reading.column.eq(0)]
                with m.If(job.slices < self.COLUMN_CYCLES):
                    m.d.sync += pause.eq(self.COLUMN_CYCLES - job.slices)
        with m.If(begin):
            m.d.sync += [active.eq(1), slices_left.eq(job.slices), slice_index.eq(0), row.eq(column.row[:BANK_BITS])]
            m.d.sync += [inside.eq(column.inside), address.eq(column.address), first_column.eq(column.first_column)]
            m.d.sync += [
                window.eq(column.window),
                row_end.eq(column.row_end),
                self.reading.next_row.eq(column.row + job.stride_two),
            ]
        with m.If(self.start):
            first_row = Mux(job.stride_two, job.output_row_start << 1, job.output_row_start)
            lowest = Mux(first_row == 0, 0, first_row - 1)
            m.d.sync += [active.eq(0), pause.eq(0), self.reading.column.eq(0)]
            m.d.sync += [self.reading.row.eq(lowest), self.reading.next_row.eq(lowest)]
        return _Issue(valid, slice_index, first_column, window, last_slice)

    def _walk(self, m: Module, begin: Signal) -> _Column:
        """Output rows and input columns; whether the next one may begin is worked out in the cycle before, from registers."""
        job = self.job
        row, rows_left, columns_left = (Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "columns_left"))
        column, address = Signal(DIMENSION_BITS + 1), Signal(index_bits(self._config.depths.row_store))
        permitted, bottom, window, row_end, there = (
            Signal(name=name) for name in ("permitted", "bottom", "completes", "last_column", "there")
        )
        lowest_read = Signal(DIMENSION_BITS + 1)
        m.d.comb += [
            bottom.eq(row == job.input_height - 1),
            lowest_read.eq(row + ~bottom),
            there.eq((self.done.row > lowest_read) | ((self.done.row == lowest_read) & (self.done.column > column))),
            window.eq(Mux(job.stride_two, column[0], column != 0)),
            row_end.eq(window & (columns_left == 1)),
        ]
        m.d.sync += permitted.eq((rows_left != 0) & there & ~begin & ~self.start)
        with m.If(begin):
            m.d.sync += [column.eq(column + 1), columns_left.eq(columns_left - window), address.eq(address + job.slices)]
            with m.If(row_end):
                m.d.sync += [column.eq(0), columns_left.eq(job.output_width), address.eq(0)]
                m.d.sync += [row.eq(row + 1 + job.stride_two), rows_left.eq(rows_left - 1)]
        with m.If(self.start):
            m.d.sync += [row.eq(Mux(job.stride_two, job.output_row_start << 1, job.output_row_start))]
            m.d.sync += [rows_left.eq(job.output_rows), columns_left.eq(job.output_width), column.eq(0), address.eq(0)]
        inside = Cat(row != 0, 1, ~bottom) & (column != job.input_width).replicate(KERNEL)
        return _Column(permitted, row, address, inside, column == 0, window, row_end)
