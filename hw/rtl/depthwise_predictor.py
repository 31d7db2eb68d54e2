"""Second predictor layer: ternary 3x3 sums of 4-bit levels, thresholds, and the masks that the lanes work from."""

from typing import Any

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, KERNEL, TAPS, ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import add_with_carry, ternary_sum
from hw.rtl.interfaces import JOB, slice_word, table_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.queue import Queue
from hw.rtl.row_store import BANK_BITS, READ_LATENCY, level_read
from hw.rtl.table_memory import TableMemory


class DepthwisePredictor(wiring.Component):
    """Gives, for every output pixel (row-major) and slice, which ReLUs survive.

    The window's centre is stride * (output row, output column). m1[p][d] = r1[p][d] != 0, and
    m2[p] = sum_d TD[p][d] * r1[p][d] > threshold[p]; taps outside the image have r1 = 0.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the DEPTHWISE table; `rows_done` in: first image row not yet in the row
    store; `rows_needed_from` out: lowest image row that will still be read; `level_read`: the row store's read port; `words`
    out: a stream of slice_word, `last` on each pixel's last slice.

    Latency: READ_LATENCY + 2 cycles and the output queue's 2. Throughput: one slice a cycle. Stalls before an output row
    until the row below its centre (within the image) is done, and when all words that the output queue can take are under
    way. `start` abandons whatever was going on. The job's rows, columns and slices must be at least 1.
    """

    PIPELINE_CYCLES = READ_LATENCY + 2
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

        # Reads start only when the queue will have room for the word, so that the pipeline itself never stalls.
        room = Signal(range(self.QUEUE_WORDS + 1))
        issue, taken = Signal(), Signal()
        m.d.comb += taken.eq(self.words.valid & self.words.ready)
        with m.If(self.start):
            m.d.sync += room.eq(self.QUEUE_WORDS)
        with m.Else():
            m.d.sync += room.eq(room - issue + taken)

        slice_index, last_slice = self._sequence(m, issue, room != 0)
        self._compute(m, delay(m, slice_index, READ_LATENCY - 2), queue)
        m.d.comb += [
            self.level_read.enable.eq(issue),
            queue.input.valid.eq(delay_flags(m, issue, self.PIPELINE_CYCLES, self.start)[-1]),
            queue.input.payload.last.eq(delay(m, last_slice, self.PIPELINE_CYCLES)),
        ]
        return m

    def _compute(self, m: Module, table_address: Value, queue: Queue) -> None:
        """Masks from the taps, which arrive with the registered table row."""
        m.submodules.depthwise = table = TableMemory(TableKind.DEPTHWISE, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        m.d.comb += [table.enable.eq(1), table.address.eq(table_address)]
        for channel in range(self._config.slice_channels):
            weights = [delay(m, Value.cast(table.row.weights[channel * TAPS + tap]), 1) for tap in range(TAPS)]
            threshold = delay(m, table.row.thresholds[channel], 2)
            levels = [Value.cast(self.level_read.taps[tap][channel]) for tap in range(TAPS)]
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

    def _sequence(self, m: Module, issue: Signal, room: Value) -> tuple[Signal, Signal]:
        """Walks the windows; returns the slice's index and whether it is the pixel's last."""
        job, read = self.job, self.level_read
        active = Signal()
        row, rows_left, column, columns_left = (
            Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "column", "columns_left")
        )
        slice_index = Signal(index_bits(self._config.depths.slices))
        address = Signal(index_bits(self._config.depths.row_store))
        neighbour, group, next_group = Signal.like(address), Signal.like(address), Signal.like(address)
        stride, column_next, row_next = Signal(2), Signal(DIMENSION_BITS + 1), Signal(DIMENSION_BITS + 1)
        lowest_row, last_slice, bottom = Signal(DIMENSION_BITS), Signal(), Signal()
        m.d.comb += [
            stride.eq(1 + job.stride_two),
            row_next.eq(row + stride),
            column_next.eq(column + stride),
            next_group.eq(group + job.slices),
            last_slice.eq(slice_index == job.slices - 1),
            bottom.eq(row == job.input_height - 1),
            issue.eq(active & room & (self.rows_done > row + ~bottom)),
            read.row.eq(row),
            read.column.eq(column),
            read.address.eq(address),
            read.neighbour.eq(neighbour),
            read.rows.eq((row != 0) | (1 << 1) | (~bottom << 2)),
            read.columns.eq((column != 0) | (1 << 1) | ((column != job.input_width - 1) << 2)),
            self.rows_needed_from.eq(lowest_row),
        ]
        with m.If(issue):
            m.d.sync += [slice_index.eq(slice_index + 1), address.eq(address + 1), neighbour.eq(neighbour + 1)]
            with m.If(last_slice):
                crosses = column[BANK_BITS] != column_next[BANK_BITS]
                at_left = column_next[:BANK_BITS] == 0
                m.d.sync += [slice_index.eq(0), column.eq(column_next), columns_left.eq(columns_left - 1)]
                m.d.sync += [group.eq(Mux(crosses, next_group, group)), address.eq(Mux(crosses, next_group, group))]
                # Left of a group's first column is the group just left; right of its last column is the next one.
                m.d.sync += neighbour.eq(Mux(at_left, group, next_group))
            with m.If(last_slice & (columns_left == 1)):
                m.d.sync += [column.eq(0), columns_left.eq(job.output_width), group.eq(0), address.eq(0)]
                m.d.sync += [row.eq(row_next), lowest_row.eq(row_next - 1)]
                m.d.sync += [rows_left.eq(rows_left - 1), active.eq(rows_left != 1)]
        with m.If(self.start):
            first_row = Mux(job.stride_two, job.output_row_start << 1, job.output_row_start)
            m.d.sync += [row.eq(first_row), lowest_row.eq(Mux(first_row == 0, 0, first_row - 1))]
            m.d.sync += [active.eq(1), rows_left.eq(job.output_rows), columns_left.eq(job.output_width)]
            m.d.sync += [column.eq(0), slice_index.eq(0), group.eq(0), address.eq(0)]
        return slice_index, last_slice
