"""First predictor layer: ternary pointwise sums of 4-bit inputs, thresholds and 4-bit outputs."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, ROW_BANKS, ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import predictor_input, predictor_level
from hw.rtl.interfaces import JOB, activation_write, table_write
from hw.rtl.pipeline import delay, delay_flags, pipelined_sum, sum_cycles
from hw.rtl.row_store import BANK_BITS, level_write
from hw.rtl.table_memory import TableMemory


@dataclass
class _Issue:
    """What one cycle issues into the pipeline; `address` is the row store's."""

    valid: Value
    first_turn: Value
    last_turn: Value
    row_end: Value
    slice: Value
    row: Value
    address: Value
    table_address: Value
    store_address: Value


class ExpandPredictor(wiring.Component):
    """Computes r1 of every expanded channel for the job's input rows, row by row, and writes it to the row store.

    For each pixel in row-major order and each slice: sum over turns and lanes of T1[p, c] * x4[c], then
    r1[p] = numerics.predictor_level(sum - threshold[p], shift[p]).

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the EXPAND and EXPAND_THRESHOLD tables; `activation_write` fills the
    4-bit input store, rounded by numerics.predictor_input; `rows_needed_from` in: lowest image row that may still be read
    from the row store; `level_write` out; `rows_done` out: first image row not completely written yet; `busy` while a turn is
    issued, `blocked` while a row waits for room in the row store.

    Latency: 6 to 8 cycles (5 + sum_cycles(lanes)) from the last turn of a slice to its write. Throughput: one turn of one
    slice (slice_channels * lanes ternary weights) a cycle. Stalls only before a row, until it is less than 4 above
    `rows_needed_from`. Input channels that a group does not have must have zero weights. `start` abandons whatever was going
    on. The job's rows, columns, slices and turns must be at least 1.
    """

    job: data.View
    start: Signal
    table_write: Any
    activation_write: Any
    rows_needed_from: Signal
    level_write: Any
    rows_done: Signal
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
                "rows_needed_from": In(DIMENSION_BITS),
                "level_write": Out(level_write(config)),
                "rows_done": Out(DIMENSION_BITS),
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
            self.level_write.row.eq(delay(m, issue.row[:BANK_BITS], written)),
            self.level_write.address.eq(delay(m, issue.address, written)),
        ]
        row_written = done[-1] & delay(m, issue.row_end, written)
        with m.If(self.start):
            m.d.sync += self.rows_done.eq(self.job.input_row_start)
        with m.Elif(row_written):
            m.d.sync += self.rows_done.eq(self.rows_done + 1)
        return m

    def _input_store(self, m: Module, lane: int, issue: _Issue) -> Value:
        """The 4-bit inputs of one lane; returns what was read for the previous cycle's issue."""
        shape = Value.cast(predictor_input(self.activation_write.data[lane])).shape()
        store = memory.Memory(shape=shape, depth=self._config.depths.activation, init=[])
        m.submodules[f"inputs_{lane}"] = store
        write, read = store.write_port(), store.read_port()
        # Inputs are not read while they are written; saying so spares synthesis the logic for it.
        m.d.comb += [
            write.en.eq(self.activation_write.enable[lane]),
            write.addr.eq(self.activation_write.address[lane]),
            write.data.eq(predictor_input(self.activation_write.data[lane])),
            read.en.eq(issue.valid & ~write.en),
            read.addr.eq(issue.store_address),
        ]
        return Value.cast(read.data)

    def _sequence(self, m: Module) -> _Issue:
        """The counters: rows, columns, slices, turns, and the addresses that go with them."""
        config, job = self._config, self.job
        active = Signal()
        row, rows_left, column, turn = (Signal(DIMENSION_BITS, name=name) for name in ("row", "rows_left", "column", "turn"))
        slice_index = Signal(DIMENSION_BITS)
        table_address = Signal(index_bits(config.depths.turned_slices))
        pixel = Signal(index_bits(config.depths.activation))
        store_address = Signal.like(pixel)
        address = Signal(index_bits(config.depths.row_store))
        last_turn, last_slice, last_column, valid = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            last_turn.eq(turn == job.turns - 1),
            last_slice.eq(slice_index == job.slices - 1),
            last_column.eq(column == job.input_width - 1),
            valid.eq(active & (row < self.rows_needed_from + ROW_BANKS)),
            self.busy.eq(valid),
            self.blocked.eq(active & ~valid),
        ]
        with m.If(valid):
            m.d.sync += [turn.eq(turn + 1), table_address.eq(table_address + 1)]
            m.d.sync += store_address.eq(store_address + job.segment)
            with m.If(last_turn):
                m.d.sync += [turn.eq(0), store_address.eq(pixel)]
                m.d.sync += [slice_index.eq(slice_index + 1), address.eq(address + 1)]
            with m.If(last_turn & last_slice):
                m.d.sync += [slice_index.eq(0), table_address.eq(0)]
                m.d.sync += [pixel.eq(pixel + 1), store_address.eq(pixel + 1)]
                m.d.sync += column.eq(column + 1)
            with m.If(last_turn & last_slice & last_column):
                m.d.sync += [column.eq(0), address.eq(0), row.eq(row + 1)]
                m.d.sync += [rows_left.eq(rows_left - 1), active.eq(rows_left != 1)]
        with m.If(self.start):
            counters = Cat(column, turn, slice_index, table_address, pixel, store_address, address)
            m.d.sync += [counters.eq(0), active.eq(1), row.eq(job.input_row_start), rows_left.eq(job.input_rows)]
        return _Issue(
            valid=valid,
            first_turn=turn == 0,
            last_turn=last_turn,
            row_end=last_turn & last_slice & last_column,
            slice=slice_index[: index_bits(config.depths.slices)],
            row=row,
            address=address,
            table_address=table_address,
            store_address=store_address,
        )
