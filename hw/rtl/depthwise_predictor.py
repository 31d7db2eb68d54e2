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
from hw.rtl.row_store import READ_LATENCY, level_read
from hw.rtl.table_memory import TableMemory


@dataclass
class _Issue:
    """What one cycle issues into the pipeline: one slice of one input column, and the window that it completes, if any."""

    valid: Signal
    slice: Signal
    first_column: Value
    window: Signal
    last_slice: Signal


class DepthwisePredictor(wiring.Component):
    """Gives, for every output pixel (row-major) and slice, which ReLUs survive.

    The window's centre is stride * (output row, output column). m1[p][d] = r1[p][d] != 0, and
    m2[p] = sum_d TD[p][d] * r1[p][d] > threshold[p]; taps outside the image have r1 = 0.

    For each output row it walks the input columns, one slice a cycle: the new column comes from the row store, the two
    before it from a memory of its own, which then takes the newer two of the three.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the DEPTHWISE table; `rows_done` in: first image row not yet in the row
    store; `rows_needed_from` out: lowest image row that will still be read; `level_read`: the row store's read port; `words`
    out: a stream of slice_word, `last` on each pixel's last slice.

    Latency: READ_LATENCY + 2 cycles and the output queue's 2. Throughput: one slice of an input column a cycle, at least
    COLUMN_CYCLES a column; an output row takes one column more than the input is wide. Stalls before an output row until the
    row below its centre (within the image) is done, and when all words that the output queue can take are under way. `start`
    abandons whatever was going on. The job's rows, columns and slices must be at least 1.
    """

    PIPELINE_CYCLES = READ_LATENCY + 2
    COLUMN_CYCLES = READ_LATENCY + 1
    """Cycles from the read of a slice's older columns to the next column's: the write is between them."""
    QUEUE_WORDS = PIPELINE_CYCLES + 4
    """Words under way or queued; enough that a reader who never stalls gets one a cycle."""

    job: data.View
    start: Signal
    table_write: Any
    rows_done: Signal
    rows_needed_from: Signal
    level_read: Any
    words: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "rows_done": In(DIMENSION_BITS),
                "rows_needed_from": Out(DIMENSION_BITS),
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
            total = add_with_carry(add_with_carry(sums[0], sums[1], carries[0]), sums[2], carries[1])
            # sum > threshold is sum - threshold - 1 >= 0, and ~threshold = -threshold - 1.
            margin = add_with_carry(total, ~threshold, carries[2])
            m.d.comb += queue.input.payload.second[channel].eq(delay(m, ~margin[-1], 1))
            for tap in range(TAPS):
                m.d.comb += queue.input.payload.first[channel][tap].eq(delay(m, levels[tap].any(), 2))

    def _sequence(self, m: Module, room: Value) -> _Issue:
        """Walks rows, input columns and slices; a column completes the window around the column before it."""
        job, read = self.job, self.level_read
        active, valid, window, last_slice, bottom = Signal(), Signal(), Signal(), Signal(), Signal()
        row, rows_left, columns_left, lowest_row = (
            Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "columns_left", "lowest_row")
        )
        column, row_next = Signal(DIMENSION_BITS + 1), Signal(DIMENSION_BITS + 1)
        slice_index = Signal(index_bits(self._config.depths.slices))
        address = Signal(index_bits(self._config.depths.row_store))
        pause = Signal(range(self.COLUMN_CYCLES))
        m.d.comb += [
            row_next.eq(row + 1 + job.stride_two),
            last_slice.eq(slice_index == job.slices - 1),
            bottom.eq(row == job.input_height - 1),
            valid.eq(active & room & (pause == 0) & (self.rows_done > row + ~bottom)),
            window.eq(Mux(job.stride_two, column[0], column != 0)),
            read.enable.eq(valid),
            read.row.eq(row),
            read.address.eq(address),
            read.inside.eq(Cat(row != 0, 1, ~bottom) & (column != job.input_width).replicate(KERNEL)),
            self.rows_needed_from.eq(lowest_row),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(valid):
            m.d.sync += [slice_index.eq(slice_index + 1), address.eq(address + 1)]
            with m.If(last_slice):
                m.d.sync += [slice_index.eq(0), column.eq(column + 1), columns_left.eq(columns_left - window)]
                with m.If(job.slices < self.COLUMN_CYCLES):
                    m.d.sync += pause.eq(self.COLUMN_CYCLES - job.slices)
            with m.If(last_slice & window & (columns_left == 1)):
                m.d.sync += [column.eq(0), columns_left.eq(job.output_width), address.eq(0)]
                m.d.sync += [row.eq(row_next), lowest_row.eq(row_next - 1)]
                m.d.sync += [rows_left.eq(rows_left - 1), active.eq(rows_left != 1)]
        with m.If(self.start):
            first_row = Mux(job.stride_two, job.output_row_start << 1, job.output_row_start)
            m.d.sync += [row.eq(first_row), lowest_row.eq(Mux(first_row == 0, 0, first_row - 1))]
            m.d.sync += [active.eq(1), rows_left.eq(job.output_rows), columns_left.eq(job.output_width)]
            m.d.sync += [column.eq(0), slice_index.eq(0), address.eq(0), pause.eq(0)]
        return _Issue(valid, slice_index, column == 0, window, last_slice)
