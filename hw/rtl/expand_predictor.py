"""First predictor layer: ternary pointwise sums of 4-bit inputs, thresholds and 4-bit outputs."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.contract.taps import SMALL_KERNEL
from hw.rtl.arithmetic import predictor_input, predictor_level
from hw.rtl.interfaces import JOB, activation_write, table_write
from hw.rtl.pipeline import delay, delay_flags, pipelined_sum, sum_cycles
from hw.rtl.row_store import bank_bits, level_write, rows_done, rows_reading
from hw.rtl.table_memory import TableMemory


@dataclass
class _Issue:
    """What one cycle issues into the pipeline; `address` is the row store's, `bank` the row modulo config.row_banks.

    `column_end` and `row_end`: with this slice a column, with its last one a row, counts as done.
    """

    valid: Value
    first_turn: Value
    last_turn: Value
    column_end: Value
    row_end: Value
    slice: Value
    bank: Value
    address: Value
    table_address: Value
    store_address: Value


@dataclass
class _Pixel:
    """The next pixel to begin: its places in the row store and in the input store, and what ends with it."""

    permitted: Value
    bank: Value
    address: Value
    store_address: Value
    column_end: Value
    row_end: Value


class ExpandPredictor(wiring.Component):
    """Computes r1 of every expanded channel for the job's input rows and writes it to the row store.

    For each pixel and each slice: sum over turns and lanes of T1[p, c] * x4[c], then
    r1[p] = numerics.predictor_level(sum - threshold[p], shift[p]). Pixels come row by row; but those rows that the
    first window needs come column by column.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the EXPAND and EXPAND_THRESHOLD tables; `activation_write` fills the
    4-bit input store, rounded by numerics.predictor_input; `rows_loaded` in: first image row that is not completely in it;
    `reading` in: what may still be read from the row store; `level_write` out; `done` out: what was written; `busy` while a
    turn is issued, `blocked` while a loaded pixel waits for its place in the row store.

    Latency: 6 to 8 cycles (5 + sum_cycles(lanes)) from the last turn of a slice to its write. Throughput: one turn of one
    slice (slice_channels * lanes ternary weights) a cycle, at least 2 cycles a pixel. Stalls only before a pixel, until its
    row is loaded and its place in the row store free. Input channels that a group does not have must have zero weights.
    `start` abandons whatever was going on. The job's rows, columns, slices and turns must be at least 1.
    """

    job: data.View
    start: Signal
    table_write: Any
    activation_write: Any
    rows_loaded: Signal
    reading: Any
    level_write: Any
    done: Any
    busy: Signal
    blocked: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "activation_write": In(activation_write(config)),
                "rows_loaded": In(DIMENSION_BITS),
                "reading": In(rows_reading()),
                "level_write": Out(level_write(config)),
                "done": Out(rows_done()),
                "busy": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        issue = self._sequence(m)
        m.submodules.expand = expand = TableMemory(TableKind.EXPAND, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), expand.write)
        m.d.comb += [expand.enable.eq(issue.valid), expand.half.eq(self.job.half), expand.address.eq(issue.table_address)]
        inputs = [self._input_store(m, lane, issue) for lane in range(self._config.lanes)]

        # Cycle 1: the memories answer. Cycle 2: weights, inputs and their negatives are in registers.
        weights = delay(m, Value.cast(expand.row), 1)
        positive = [delay(m, value, 1) for value in inputs]
        negative = [delay(m, -value, 1) for value in inputs]
        summed = 2 + sum_cycles(self._config.lanes)
        written = summed + 3
        valid = delay_flags(m, issue.valid, summed, self.start)
        done = delay_flags(m, issue.valid & issue.last_turn, written, self.start)
        first_turn = delay(m, issue.first_turn, summed)

        m.submodules.threshold = threshold = TableMemory(TableKind.EXPAND_THRESHOLD, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), threshold.write)
        m.d.comb += [
            threshold.enable.eq(done[summed]),
            threshold.half.eq(self.job.half),
            threshold.address.eq(delay(m, issue.slice, summed)),
        ]

        for channel in range(self._config.slice_channels):
            terms = []
            for lane in range(self._config.lanes):
                bit = 2 * (channel * self._config.lanes + lane)
                chosen = Mux(weights[bit + 1], negative[lane], positive[lane])
                terms.append(Mux(weights[bit], chosen, 0))
            total = pipelined_sum(m, terms)
            # Sums of single turns may leave the width, but the whole sum fits (the exporter proves it).
            accumulator = Signal(self._config.widths.predictor_sum, reset_less=True, name=f"accumulator_{channel}")
            accumulated = Mux(first_turn, 0, accumulator.as_signed()) + total
            with m.If(valid[summed]):
                m.d.sync += accumulator.eq(accumulated)  # cycle summed + 1
            excess = delay(m, accumulator.as_signed() + ~threshold.row.thresholds[channel], 1)
            shift = delay(m, threshold.row.shifts[channel], 1)
            level = delay(m, predictor_level(excess, shift), 1)
            m.d.comb += self.level_write.levels[channel].eq(level)

        m.d.comb += [
            self.level_write.valid.eq(done[-1]),
            self.level_write.row.eq(delay(m, issue.bank, written)),
            self.level_write.address.eq(delay(m, issue.address, written)),
        ]
        column_written = delay_flags(m, issue.valid & issue.column_end, written, self.start)[-1]
        row_written = delay(m, issue.row_end, written)
        with m.If(self.start):
            # Of the leading rows a column is done when it is in all: those above the last count as done from the beginning.
            m.d.sync += [self.done.row.eq(self.job.input_row_start + self._leading_rows() - 1), self.done.column.eq(0)]
        with m.Elif(column_written):
            m.d.sync += [self.done.row.eq(self.done.row + row_written)]
            m.d.sync += self.done.column.eq(Mux(row_written, 0, self.done.column + 1))
        return m

    def _input_store(self, m: Module, lane: int, issue: _Issue) -> Value:
        """The 4-bit inputs of one lane; returns what was read for the previous cycle's issue."""
        shape = Value.cast(predictor_input(self.activation_write.data[lane])).shape()
        store = memory.Memory(shape=shape, depth=self._config.depths.activation, init=[])
        m.submodules[f"inputs_{lane}"] = store
        write, read = store.write_port(), store.read_port()
        # No input is read while it is written; saying so spares synthesis the logic for it.
        m.d.comb += [
            write.en.eq(self.activation_write.enable[lane]),
            write.addr.eq(self.activation_write.address[lane]),
            write.data.eq(predictor_input(self.activation_write.data[lane])),
            read.en.eq(issue.valid & ~(write.en & (write.addr == read.addr))),
            read.addr.eq(issue.store_address),
        ]
        return Value.cast(read.data)

    def _sequence(self, m: Module) -> _Issue:
        """The counters within a pixel: slices, turns, and the addresses that go with them."""
        config, job = self._config, self.job
        active, begin, first_turn, last_turn, last_slice = (
            Signal(name=name) for name in ("active", "begin", "first_turn", "last_turn", "last_slice")
        )
        turns_left, slices_left = Signal.like(job.turns), Signal.like(job.slices)
        slice_index, bank = Signal(index_bits(config.depths.slices)), Signal(bank_bits(config))
        table_address = Signal(index_bits(config.depths.turned_slices))
        pixel_address, store_address = (Signal(index_bits(config.depths.activation)) for _ in range(2))
        address, column_ends, row_ends = Signal(index_bits(config.depths.row_store)), Signal(), Signal()
        pixel = self._walk(m, begin)
        m.d.comb += [
            last_turn.eq(turns_left == 1),
            last_slice.eq(slices_left == 1),
            begin.eq(pixel.permitted & (~active | (last_turn & last_slice))),
            self.busy.eq(active),
        ]
        with m.If(active):
            m.d.sync += [turns_left.eq(turns_left - 1), first_turn.eq(0), table_address.eq(table_address + 1)]
            m.d.sync += store_address.eq(store_address + job.segment)
            with m.If(last_turn):
                m.d.sync += [turns_left.eq(job.turns), first_turn.eq(1), store_address.eq(pixel_address)]
                m.d.sync += [slices_left.eq(slices_left - 1), slice_index.eq(slice_index + 1), address.eq(address + 1)]
                m.d.sync += active.eq(~last_slice)
        with m.If(begin):
            m.d.sync += [active.eq(1), turns_left.eq(job.turns), first_turn.eq(1), slices_left.eq(job.slices)]
            m.d.sync += [slice_index.eq(0), table_address.eq(0), bank.eq(pixel.bank), address.eq(pixel.address)]
            m.d.sync += [pixel_address.eq(pixel.store_address), store_address.eq(pixel.store_address)]
            m.d.sync += [column_ends.eq(pixel.column_end), row_ends.eq(pixel.row_end)]
        with m.If(self.start):
            m.d.sync += active.eq(0)
        return _Issue(
            valid=active,
            first_turn=first_turn,
            last_turn=last_turn,
            column_end=last_turn & last_slice & column_ends,
            row_end=row_ends,
            slice=slice_index,
            bank=bank,
            address=address,
            table_address=table_address,
            store_address=store_address,
        )

    def _leading_rows(self) -> Value:
        """Rows that the first window needs, which are done column by column: its centre's, those below, and those above."""
        job, several = self.job, self.job.first_center != 0
        if self._config.kernel == SMALL_KERNEL:
            needed = Mux(several, 3, 2)
        else:
            needed = Mux(several, Mux(job.first_center == job.input_width, 3, 4), 2) + job.kernel_five
        return Mux(job.input_rows < needed, job.input_rows, needed)[: len(needed)]

    def _walk(self, m: Module, begin: Signal) -> _Pixel:
        """The order of the pixels; whether the next one may begin is worked out in the cycle before, from registers."""
        job = self.job
        row, column, rows_left = (Signal(DIMENSION_BITS, name=name) for name in ("row", "column", "rows_left"))
        address = Signal(index_bits(self._config.depths.row_store))
        store_address = Signal(index_bits(self._config.depths.activation))
        # The leading rows: how many there are besides the first, in which one we are, and the way back; all 0 afterwards.
        further, depth = (Signal(range(self._config.kernel), name=name) for name in ("further", "depth"))
        back = Signal(DIMENSION_BITS + len(further) - 1)
        last_of_row = Signal(DIMENSION_BITS)
        last_column, column_end, permitted = Signal(), Signal(), Signal()
        free = row < self.reading.row + self._config.row_banks
        freed = (row < self.reading.next_row + self._config.row_banks) & (column < self.reading.column)
        # A pixel begins two cycles after the one before at the earliest: what follows from its place comes from registers.
        m.d.sync += [last_column.eq(column == last_of_row), last_of_row.eq(job.input_width - 1)]
        m.d.comb += column_end.eq(depth == further)
        loaded = (rows_left != 0) & (row < self.rows_loaded)
        m.d.sync += permitted.eq(loaded & (free | freed) & ~begin & ~self.start)
        m.d.comb += self.blocked.eq(~self.busy & loaded & ~(free | freed))
        with m.If(begin & ~column_end):
            m.d.sync += [depth.eq(depth + 1), row.eq(row + 1), back.eq(back + job.input_width)]
            m.d.sync += store_address.eq(store_address + job.input_width)
        with m.Elif(begin & last_column):
            m.d.sync += [row.eq(row + 1), rows_left.eq(rows_left - 1), store_address.eq(store_address + 1)]
            m.d.sync += Cat(column, address, further, depth, back).eq(0)
        with m.Elif(begin):
            m.d.sync += [row.eq(row - further), column.eq(column + 1), address.eq(address + job.slices)]
            m.d.sync += [store_address.eq(store_address + 1 - back), Cat(depth, back).eq(0)]
        with m.If(self.start):
            besides = (self._leading_rows() - 1)[: len(further)]
            m.d.sync += [Cat(column, address, store_address, depth, back).eq(0), further.eq(besides)]
            m.d.sync += [row.eq(job.input_row_start), rows_left.eq(job.input_rows - besides)]
        return _Pixel(permitted, row[: bank_bits(self._config)], address, store_address, column_end, last_column)
