"""Second predictor layer: ternary sums of 4-bit levels under windows, thresholds, and the masks that lanes work from."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS, tap_places
from hw.rtl.arithmetic import add_with_carry, ternary_sum
from hw.rtl.interfaces import JOB, slice_word, table_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.queue import Queue
from hw.rtl.row_store import READ_LATENCY, bank_bits, level_read, rows_done, rows_reading
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
    """The next input column to begin: centre row, place in the row store, what lies in the image, which window it completes.

    `next_row` is the lowest row of the next output row's windows.
    """

    permitted: Signal
    row: Signal
    address: Signal
    inside: Value
    first_column: Value
    window: Value
    row_end: Value
    next_row: Value


class DepthwisePredictor(wiring.Component):
    """Gives, for every output pixel (row-major) and slice, which ReLUs survive.

    The window's centre is stride * (output row, output column). m1[p][d] = r1[p][d] != 0, and
    m2[p] = sum_d TD[p][d] * r1[p][d] > threshold[p]; taps outside the image have r1 = 0.

    For each output row it walks the input columns, one slice a cycle: the new column comes from the row store, those
    before it from a memory of its own, which then takes the newer ones of all. In jobs of a kernel that is smaller than the
    hardware's, the outer rows count as outside and the outer columns have no weights.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the DEPTHWISE table; `done` in: what is in the row store; `reading` out: what
    may still be read from it; `level_read`: its read port; `words` out: a stream of slice_word, `last` on each pixel's last
    slice.

    Latency: 5 cycles with a kernel of 3, 7 with one of 5, and the output queue's 2. Throughput: one slice of an input column a
    cycle, at least COLUMN_CYCLES a column; an output row takes config.kernel // 2 columns more than the input is wide. Stalls
    before a column until the rows below its centre (within the window and the image) are done up to there, and when all words
    that the output queue can take are under way. `start` abandons whatever was going on. The job's rows, columns and slices
    must be at least 1.
    """

    COLUMN_CYCLES = READ_LATENCY + 1
    """Cycles from the read of a slice's older columns to the next column's: the write is between them."""

    job: data.View
    start: Signal
    table_write: Any
    done: Any
    reading: Any
    level_read: Any
    words: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        self._sums = -(-config.taps // SMALL_KERNEL)
        self._pipeline_cycles = READ_LATENCY + 1 + self._sums.bit_length()
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
        # Words under way or queued; enough that a reader who never stalls gets one a cycle.
        words = self._pipeline_cycles + 4
        queue = Queue(slice_word(self._config), words)
        m.submodules.queue = ResetInserter(self.start)(queue)
        wiring.connect(m, queue.output, wiring.flipped(self.words))

        # Windows are begun only when the queue will have room for their word, so that the pipeline itself never stalls.
        room = Signal(range(words + 1))
        taken, begun = Signal(), Signal()
        issue = self._sequence(m, room != 0)
        m.d.comb += [taken.eq(self.words.valid & self.words.ready), begun.eq(issue.valid & issue.window)]
        with m.If(self.start):
            m.d.sync += room.eq(words)
        with m.Else():
            m.d.sync += room.eq(room - begun + taken)

        self._compute(m, self._columns(m, issue), issue, queue)
        m.d.comb += [
            queue.input.valid.eq(delay_flags(m, begun, self._pipeline_cycles, self.start)[-1]),
            queue.input.payload.last.eq(delay(m, issue.last_slice, self._pipeline_cycles)),
        ]
        return m

    def _columns(self, m: Module, issue: _Issue) -> list[data.View]:
        """The window's columns READ_LATENCY cycles after the issue, each an array of a level word a row."""
        newest = self.level_read.levels
        layout = data.ArrayLayout(newest.shape(), self._config.kernel - 1)
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
            write.data.eq(Cat(*(older[index] for index in range(1, self._config.kernel - 1)), newest)),
        ]
        return [*(older[index] for index in range(self._config.kernel - 1)), newest]

    def _compute(self, m: Module, columns: list[data.View], issue: _Issue, queue: Queue) -> None:
        """Masks from the window's columns, which arrive with the registered table row."""
        m.submodules.depthwise = table = TableMemory(TableKind.DEPTHWISE, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        m.d.comb += [
            table.enable.eq(1),
            table.half.eq(self.job.half),
            table.address.eq(delay(m, issue.slice, READ_LATENCY - 2)),
        ]
        config, reach, channels = self._config, self._config.kernel // 2, self._config.slice_channels
        for channel in range(channels):
            weights = [self._weight(m, table.row.weights[tap * channels + channel], tap) for tap in range(config.taps)]
            levels = [Value.cast(columns[dx + reach][dy + reach][channel]) for dy, dx in tap_places(config.kernel)]
            terms, carries = [], []
            for first in range(0, config.taps, SMALL_KERNEL):
                chosen = slice(first, first + SMALL_KERNEL)
                total, carry = ternary_sum(levels[chosen], weights[chosen])
                terms.append(delay(m, total, 1))
                carries.append(delay(m, carry, 1))
            # sum > threshold is sum - threshold - 1 >= 0, and ~threshold = -threshold - 1.
            terms.append(~delay(m, table.row.thresholds[channel], 2))
            margin = _sum_with_carries(m, terms, carries)
            m.d.comb += queue.input.payload.second[channel].eq(delay(m, ~margin[-1], 1))
            for tap, level in enumerate(levels):
                masked = delay(m, level.any(), self._pipeline_cycles - READ_LATENCY)
                m.d.comb += queue.input.payload.first[channel][tap].eq(masked)

    def _weight(self, m: Module, weight: Value, tap: int) -> Value:
        """Register of a tap's weight: 0 where the job's kernel does not have the tap, of which the table holds rubbish."""
        value = Value.cast(weight)
        return delay(m, value if tap < SMALL_TAPS else value & self.job.kernel_five.replicate(len(value)), 1)

    def _sequence(self, m: Module, room: Value) -> _Issue:
        """The slices of a column, and what has been read; a column completes the window around the column before it."""
        job, read = self.job, self.level_read
        active, valid, begin, last_slice, first_column, window, row_end = (
            Signal(name=name) for name in ("active", "valid", "begin", "last_slice", "first_column", "window", "row_end")
        )
        slices_left, slice_index = Signal.like(job.slices), Signal(index_bits(self._config.depths.slices))
        row, inside = Signal(bank_bits(self._config)), Signal(self._config.kernel)
        address = Signal(index_bits(self._config.depths.row_store))
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
            m.d.sync += [active.eq(1), slices_left.eq(job.slices), slice_index.eq(0), row.eq(column.row[: len(row)])]
            m.d.sync += [inside.eq(column.inside), address.eq(column.address), first_column.eq(column.first_column)]
            m.d.sync += [
                window.eq(column.window),
                row_end.eq(column.row_end),
                self.reading.next_row.eq(column.next_row),
            ]
        with m.If(self.start):
            first_row = Mux(job.stride_two, job.output_row_start << 1, job.output_row_start)
            lowest = Mux(first_row == 0, 0, first_row - 1)
            if self._config.kernel > SMALL_KERNEL:
                lowest = Mux(job.kernel_five, Mux(first_row < 2, 0, first_row - 2), lowest)
            m.d.sync += [active.eq(0), pause.eq(0), self.reading.column.eq(0)]
            m.d.sync += [self.reading.row.eq(lowest), self.reading.next_row.eq(lowest)]
        return _Issue(valid, slice_index, first_column, window, last_slice)

    def _walk(self, m: Module, begin: Signal) -> _Column:
        """Output rows and input columns; whether the next one may begin is worked out in the cycle before, from registers."""
        job, reach = self.job, self._config.kernel // 2
        row, rows_left, columns_left = (Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "columns_left"))
        column, address = Signal(DIMENSION_BITS + 1), Signal(index_bits(self._config.depths.row_store))
        permitted, bottom, window, row_end, there = (
            Signal(name=name) for name in ("permitted", "bottom", "completes", "last_column", "there")
        )
        # `bottom` and `lowest_read` follow the row by a cycle, `moved`, in which nothing is permitted.
        lowest_read, last_row, moved = Signal(DIMENSION_BITS + 1), Signal(DIMENSION_BITS), Signal()
        at_bottom = row == last_row
        # Rows of the window that lie in the image, and how many below the centre do.
        rows, below, next_row = [row != 0, Const(1), ~bottom], ~at_bottom, row + job.stride_two
        if self._config.kernel > SMALL_KERNEL:
            two_below = Signal()
            goes_below = job.kernel_five & ~at_bottom & (row + 1 != last_row)
            m.d.sync += two_below.eq(goes_below)
            rows = [job.kernel_five & (row > 1), *rows, two_below]
            below, next_row = below + goes_below, next_row - (job.kernel_five & (next_row != 0))
        m.d.sync += [
            last_row.eq(job.input_height - 1),
            bottom.eq(at_bottom),
            lowest_read.eq(row + below),
            moved.eq(self.start | (begin & row_end)),
        ]
        m.d.comb += [
            there.eq((self.done.row > lowest_read) | ((self.done.row == lowest_read) & (self.done.column > column))),
            window.eq((column >= reach) & ~(job.stride_two & (column[0] ^ (reach & 1)))),
            row_end.eq(window & (columns_left == 1)),
        ]
        m.d.sync += permitted.eq((rows_left != 0) & there & ~begin & ~self.start & ~moved)
        with m.If(begin):
            m.d.sync += [column.eq(column + 1), columns_left.eq(columns_left - window), address.eq(address + job.slices)]
            with m.If(row_end):
                m.d.sync += [column.eq(0), columns_left.eq(job.output_width), address.eq(0)]
                m.d.sync += [row.eq(row + 1 + job.stride_two), rows_left.eq(rows_left - 1)]
        with m.If(self.start):
            m.d.sync += [row.eq(Mux(job.stride_two, job.output_row_start << 1, job.output_row_start))]
            m.d.sync += [rows_left.eq(job.output_rows), columns_left.eq(job.output_width), column.eq(0), address.eq(0)]
        within = column != job.input_width if reach == 1 else column < job.input_width
        inside = Cat(rows) & within.replicate(len(rows))
        return _Column(permitted, row, address, inside, column == 0, window, row_end, next_row)


def _sum_with_carries(m: Module, terms: list[Value], carries: list[Value]) -> Value:
    """Sum of signed terms and as many carries as it takes adders, with a register between levels of adders."""
    while True:
        taken = len(terms) // 2
        pairs = zip(terms[::2], terms[1::2], carries, strict=False)
        terms = [add_with_carry(left, right, carry) for left, right, carry in pairs] + terms[2 * taken :]
        carries = carries[taken:]
        if len(terms) == 1:
            return terms[0]
        terms, carries = ([delay(m, value, 1) for value in values] for values in (terms, carries))
