"""Fetches the steps of each pair of a lane's adder row."""

from typing import Any

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.tables import TableKind, adder_row_bits
from hw.rtl.accumulator_bank import bank_behind, place_bits, row_bits, tile_bits
from hw.rtl.interfaces import JOB, drive, table_write
from hw.rtl.pair_fetch import masked_pair, row_pair
from hw.rtl.table_memory import TableMemory

TERMS = ("negative", "shift", "second", "second_negative", "second_shift")
"""What a step's products and bias are scaled with, as in the step table."""


def step(config: ArchonConfig) -> data.StructLayout:
    """One step: what is added to row `row` of A and to the bias at `place` of bank `bank`, before scaling, and its terms.

    With `valid` low there is none; `end`: the pixel ends before, and bank `bank` is complete.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "end": 1,
            "bank": tile_bits(config),
            "row": row_bits(config),
            "place": place_bits(config),
            "negative": 1,
            "shift": config.widths.shift,
            "second": 1,
            "second_negative": 1,
            "second_shift": config.widths.shift,
            "pair": masked_pair(config),
        }
    )


class StepFetch(wiring.Component):
    """Turns each pair into its steps in adder row `number`; a pixel's go into one bank, the next one's into the next.

    Parameters: `config`; `number` of the adder row.

    Members: `job`; `table_write` fills the step table; `pairs` in; `released[b]` pulses when bank b may be filled again;
    `step` out, in every cycle; `works` when one is issued, `blocked` while issue waits.

    Pipeline: issue (one step address a cycle, the next pair is loaded in the last step's cycle), step read, the step in
    registers, output registers. Latency 4 cycles, throughput 1 step a cycle, without gaps between pairs; a pixel's end takes a
    cycle. Only issue waits, for a bank: what is issued cannot be stalled. After reset all banks count as taken.
    """

    job: data.View
    table_write: Any
    pairs: stream.Interface
    released: Signal
    step: Any
    works: Signal
    blocked: Signal

    def __init__(self, config: ArchonConfig, number: int) -> None:
        self._config, self._number = config, number
        super().__init__(
            {
                "job": In(JOB),
                "table_write": In(table_write(config)),
                "pairs": In(stream.Signature(row_pair(config))),
                "released": In(config.pixel_tile),
                "step": Out(step(config)),
                "works": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.table = table = TableMemory(TableKind.STEP, config)
        low_bits = adder_row_bits(config)
        m.d.comb += drive(table.write, self.table_write)
        if low_bits:
            mine = self.table_write.data[:low_bits] == self._number  # output channels come first in a step's row
            m.d.comb += table.write.valid.eq(self.table_write.valid & mine)

        # Issue: `current` walks its steps.
        current: Any = Signal(row_pair(config))
        valid, last, go = Signal(), Signal(), Signal()
        bank, taken = Signal(tile_bits(config)), Signal(config.pixel_tile, init=-1)
        m.d.comb += [
            go.eq(valid & ~Array(taken)[bank]),
            self.works.eq(go & ~current.end),
            self.blocked.eq(valid & ~go),
            self.pairs.ready.eq(~valid | (go & last)),
            table.enable.eq(1),
            table.half.eq(self.job.half),
            table.address.eq(current.step_start),
        ]
        following = self.pairs.payload
        with m.If(self.pairs.ready):
            m.d.sync += [
                current.eq(following),
                valid.eq(self.pairs.valid),
                last.eq(following.end | (following.step_count == 1)),
            ]
        with m.Elif(go):
            m.d.sync += [
                current.step_start.eq(current.step_start + 1),
                current.step_count.eq(current.step_count - 1),
                last.eq(current.step_count == 2),
            ]
        ends = go & current.end
        m.d.sync += bank.eq(bank_behind(bank, ends, config))
        for index in range(config.pixel_tile):
            m.d.sync += taken[index].eq((taken[index] & ~self.released[index]) | (ends & (bank == index)))

        # Step read, beside the table's; the step in registers; then the output registers.
        read: Any = Signal.like(self.step)
        found: Any = Signal.like(self.step)
        m.d.sync += [
            read.valid.eq(self.works),
            read.end.eq(ends),
            read.bank.eq(bank),
            read.pair.eq(current.pair),
            found.eq(read),
            found.place.eq(table.row.output >> low_bits),
            *(found[name].eq(table.row[name]) for name in TERMS),
            self.step.eq(found),
            self.step.row.eq(found.pair.base + found.place),
        ]
        return m
