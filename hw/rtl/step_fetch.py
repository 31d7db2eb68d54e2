"""Fetches the pair record and the steps of each survivor of a lane."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import KERNEL, TAPS, ArchonConfig, index_bits
from hw.contract.tables import STEP_COUNT_BITS, TableKind, pair_row
from hw.rtl.arithmetic import tree_sum
from hw.rtl.interfaces import JOB, struct, survivor, table_write
from hw.rtl.table_memory import TableMemory


def step(config: ArchonConfig) -> data.StructLayout:
    """What is added to all taps of a row, before scaling: products and bias of the pair, masked, and a step's shifts and signs.

    `products[d]` is 0 where m1 masks the tap; `bias` is b2 + sum_d m1 * D * b1 of the bias owner and 0 for other pairs.
    With `end` set the pixel ends here and the rest means nothing.
    """
    widths, depths = config.widths, config.depths
    return data.StructLayout(
        {
            "end": 1,
            "address": index_bits(depths.accumulator),
            "output": index_bits(depths.output),
            "negative": 1,
            "shift": widths.shift,
            "second": 1,
            "second_negative": 1,
            "second_shift": widths.shift,
            "products": data.ArrayLayout(signed(widths.product), TAPS),
            "owns_bias": 1,
            "bias": signed(numerics.OUTPUT_ACCUMULATOR_BITS),
        }
    )


TERM_FIELDS = ("negative", "shift", "second", "second_negative", "second_shift")
"""What a step's products and bias are scaled with, as in the step table."""


class StepFetch(wiring.Component):
    """Turns each survivor into its steps.

    Parameters: `config`.

    Members: `job`; `table_write` fills the pair and step tables; `survivors` in; `steps` out, `end` payloads passed on in
    order.

    Pipeline: pair read, issue (one step address a cycle, next record loaded in the last step's cycle), step read, output
    registers. Latency 4 cycles, throughput 1 step a cycle; stalls with `steps`.
    """

    job: data.View
    table_write: Any
    survivors: stream.Interface
    steps: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "table_write": In(table_write(config)),
                "survivors": In(stream.Signature(survivor(config))),
                "steps": Out(stream.Signature(step(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.pairs = pairs = TableMemory(TableKind.PAIR, config)
        m.submodules.step_rows = step_rows = TableMemory(TableKind.STEP, config)
        wiring.connect(m, wiring.flipped(self.table_write), pairs.write)
        wiring.connect(m, wiring.flipped(self.table_write), step_rows.write)

        # Pair read: `fetched` is the survivor whose record the pair table shows.
        fetched: Any = Signal(survivor(config))
        fetched_valid, take, accept = Signal(), Signal(), Signal()
        m.d.comb += [
            self.survivors.ready.eq(~fetched_valid | take),
            accept.eq(self.survivors.valid & self.survivors.ready),
            pairs.enable.eq(accept),
            pairs.half.eq(self.job.half),
            pairs.address.eq(self.survivors.payload.pair),
        ]
        with m.If(accept):
            m.d.sync += [fetched.eq(self.survivors.payload), fetched_valid.eq(1)]
        with m.Elif(take):
            m.d.sync += fetched_valid.eq(0)

        # Issue: `record` walks its steps.
        record: Any = Signal(struct(pair_row(config)))
        issue_taps = Signal(TAPS)
        issue_valid, issue_end, issue_last, advance = Signal(), Signal(), Signal(), Signal()
        address = Signal(index_bits(config.depths.step))
        remaining = Signal(STEP_COUNT_BITS)
        m.d.comb += [
            issue_last.eq(issue_end | (remaining == 1)),
            take.eq(fetched_valid & (~issue_valid | (advance & issue_last))),
            step_rows.enable.eq(advance),
            step_rows.half.eq(self.job.half),
            step_rows.address.eq(address),
        ]
        with m.If(take):
            m.d.sync += [
                record.eq(pairs.row),
                issue_taps.eq(fetched.taps),
                issue_end.eq(fetched.end),
                issue_valid.eq(1),
                address.eq(pairs.row.step_start),
                remaining.eq(pairs.row.step_count),
            ]
        with m.Elif(advance & issue_valid):
            m.d.sync += [address.eq(address + 1), remaining.eq(remaining - 1), issue_valid.eq(~issue_last)]

        # Step read: masked products, and the bias in parts, register beside the step table's read.
        widths = config.widths
        read_valid, read_end, owns_bias = (Signal(name=name) for name in ("read_valid", "read_end", "read_owns_bias"))
        products = Signal(data.ArrayLayout(signed(widths.product), TAPS))
        bias, row_base = Signal(signed(widths.bias)), Signal(index_bits(config.depths.accumulator))
        # Three products in two bits more.
        parts = Signal(data.ArrayLayout(signed(widths.bias_product + 2), KERNEL))
        with m.If(advance):
            m.d.sync += [
                read_valid.eq(issue_valid),
                read_end.eq(issue_end),
                owns_bias.eq(record.owns_bias),
                row_base.eq(record.accumulator_base),
                bias.eq(record.bias),
            ]
            masked = [Mux(issue_taps[tap], record.bias_products[tap], 0) for tap in range(TAPS)]
            m.d.sync += [parts[row].eq(tree_sum(masked[row * KERNEL : (row + 1) * KERNEL])) for row in range(KERNEL)]
            m.d.sync += [products[tap].eq(Mux(issue_taps[tap], record.products[tap], 0)) for tap in range(TAPS)]

        # Output registers: the address, and the bias in one number.
        output, leave = self.steps.payload, Signal()
        m.d.comb += [leave.eq(~self.steps.valid | self.steps.ready), advance.eq(~read_valid | leave)]
        with m.If(leave):
            m.d.sync += [
                self.steps.valid.eq(read_valid),
                output.end.eq(read_end),
                output.address.eq(row_base + step_rows.row.output),
                output.output.eq(step_rows.row.output),
                *(output[name].eq(step_rows.row[name]) for name in TERM_FIELDS),
                output.products.eq(products),
                output.owns_bias.eq(owns_bias),
                output.bias.eq(tree_sum([bias, *parts])),
            ]
        return m
