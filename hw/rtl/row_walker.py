"""Walks the rows of full banks ahead of the multiplier: reads and clears flags and biases, and leaves out empty rows."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS
from hw.contract.tables import adder_row_bits
from hw.rtl.accumulator_bank import bank_behind, place_bits, row_bits, tile_bits, walk_port
from hw.rtl.interfaces import JOB


def walked_row(config: ArchonConfig) -> data.StructLayout:
    """A row of A for the multiplier: the entries `touched` of row `row` in bank `bank` of adder row `adder_row`.

    `centre` is the activation-store address of the window's centre. With `last` the output channel ends here and gets `bias`;
    with `ends` the bank is not needed any more.
    """
    return data.StructLayout(
        {
            "touched": config.taps,
            "bank": tile_bits(config),
            "adder_row": adder_row_bits(config),
            "row": row_bits(config),
            "centre": index_bits(config.depths.activation),
            "last": 1,
            "bias": signed(OUTPUT_ACCUMULATOR_BITS),
            "ends": 1,
        }
    )


class RowWalker(wiring.Component):
    """Output channels of a pixel in order, and of each its turns: a row with touched entries, or an output channel's last one.

    A last row without entries is joined to the one before of its output channel, where there is one. Taps outside the image do
    not count as touched. In a job with `job.fixed` the bank serves all pixels of the job, one after the other, and is cleared
    with the last one; a pixel waits until its activations are there.

    Parameters: `config`.

    Members: `job`; `filled`: which banks are complete and not walked yet; `walked[b]` pulses when bank b's last row
    is being read; `next_turn`, `first_turn`, `next_pixel`, `inside`, `last_pixel`, `base`, `there`: a WindowAddress that
    keeps step; `banks[r][b]` the ports of adder row r; `rows` out. After reset all rows are cleared first; `cleared` pulses
    then.

    Latency 4 cycles, throughput one row of a bank a cycle; stalls with `rows`.
    """

    job: data.View
    filled: Signal
    walked: Signal
    cleared: Signal
    next_turn: Signal
    first_turn: Signal
    next_pixel: Signal
    inside: Signal
    last_pixel: Signal
    base: Signal
    there: Signal
    banks: list[list[Any]]
    rows: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "filled": In(config.pixel_tile),
                "walked": Out(config.pixel_tile),
                "cleared": Out(1),
                "next_turn": Out(1),
                "first_turn": Out(1),
                "next_pixel": Out(1),
                "inside": In(config.taps),
                "last_pixel": In(1),
                "base": In(index_bits(config.depths.activation)),
                "there": In(1),
                "banks": Out(walk_port(config)).array(config.adder_rows, config.pixel_tile),
                "rows": Out(stream.Signature(walked_row(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        advance = Signal()
        m.d.comb += advance.eq(~self.rows.valid | self.rows.ready)
        read: Any = Signal(walked_row(config))
        place, valid, keeps = Signal(place_bits(config)), Signal(), Signal()
        self._walk(m, advance, read, place, valid, keeps)

        # What the banks show: the flags inside the image.
        found: Any = Signal(walked_row(config))
        found_valid = Signal()
        ports = [port for rows in self.banks for port in rows]
        shown = Cat(read.bank, read.adder_row)
        with m.If(advance):
            m.d.sync += [
                found.eq(read),
                found.touched.eq(Array(port.touched for port in ports)[shown] & read.touched),
                found.bias.eq(Array(port.bias for port in ports)[shown]),
                found_valid.eq(valid),
            ]
        self._clear(m, read, place, advance & valid & ~keeps)
        self._join(m, advance, found, found_valid)
        return m

    def _walk(self, m: Module, advance: Signal, read: Any, place: Signal, valid: Signal, keeps: Signal) -> None:
        """Registers: the row whose flags the banks are going to show; `read.touched` holds the taps inside the image."""
        config, job = self._config, self.job
        low_bits = adder_row_bits(config)
        turn, output = Signal.like(job.turns), Signal(index_bits(config.depths.output))
        row, bank = Signal(row_bits(config)), Signal(tile_bits(config))
        last_turn, last_output, ends, can, step = Signal(), Signal(), Signal(), Signal(), Signal()
        turns_less_one, outputs_less_one = Signal.like(turn), Signal.like(job.output_channels)
        outputs_of_row = Signal.like(row)
        next_output = Signal.like(output)
        m.d.sync += [
            turns_less_one.eq(job.turns - 1),
            outputs_less_one.eq(job.output_channels - 1),
            outputs_of_row.eq((job.output_channels + config.adder_rows - 1) >> low_bits),
        ]
        # Both come from registers, as much follows from them; they have long settled when a job's first bank is filled.
        m.d.sync += last_turn.eq(_last(turn, turns_less_one, step, last_turn))
        m.d.sync += last_output.eq(_last(output, outputs_less_one, step & last_turn, last_output))
        m.d.comb += [
            can.eq(Array(self.filled)[bank] & self.there),
            step.eq(advance & can),
            ends.eq(last_turn & last_output & (~job.fixed | self.last_pixel)),
            next_output.eq(Mux(last_output, 0, output + 1)),
            self.next_turn.eq(step & ~last_turn),
            self.first_turn.eq(step & last_turn & ~last_output),
            self.next_pixel.eq(step & last_turn & last_output),
        ]
        m.d.comb += [self.walked[index].eq(step & ends & (bank == index)) for index in range(config.pixel_tile)]
        with m.If(step):
            m.d.sync += [
                turn.eq(Mux(last_turn, 0, turn + 1)),
                row.eq(Mux(last_turn, next_output >> low_bits, row + outputs_of_row)),
                bank.eq(bank_behind(bank, ends, config)),
            ]
            with m.If(last_turn):
                m.d.sync += output.eq(next_output)
        for rows in self.banks:
            for port in rows:
                m.d.comb += [port.enable.eq(advance), port.row.eq(row), port.place.eq(output >> low_bits)]
        with m.If(advance):
            m.d.sync += [
                valid.eq(can),
                keeps.eq(job.fixed & ~self.last_pixel),
                place.eq(output >> low_bits),
                read.touched.eq(self.inside),
                read.bank.eq(bank),
                read.adder_row.eq(output[:low_bits]),
                read.row.eq(row),
                read.centre.eq(self.base),
                read.last.eq(last_turn),
                read.ends.eq(ends),
            ]

    def _clear(self, m: Module, read: Any, place: Signal, clears: Any) -> None:
        """Clear what was read; after reset, everything."""
        config = self._config
        last = config.part_of_row(max(config.depths.accumulator, config.depths.output)) - 1
        clearing, count = Signal(init=1), Signal(range(last + 1))
        m.d.sync += count.eq(count + clearing)
        m.d.comb += self.cleared.eq(clearing & (count == last))
        with m.If(self.cleared):
            m.d.sync += clearing.eq(0)
        for adder_row, rows in enumerate(self.banks):
            for bank, port in enumerate(rows):
                here = clears & (read.bank == bank) & (read.adder_row == adder_row)
                m.d.comb += [
                    port.clear.eq(clearing | here),
                    port.clear_row.eq(Mux(clearing, count, read.row)),
                    port.clear_bias.eq(clearing | (here & read.last)),
                    port.clear_place.eq(Mux(clearing, count, place)),
                ]

    def _join(self, m: Module, advance: Signal, found: Any, found_valid: Signal) -> None:
        """Hold a row back until the next one that matters comes, in case that one only ends the output channel."""
        held: Any = Signal(walked_row(self._config))
        held_valid, some, joins, loads = Signal(), Signal(), Signal(), Signal()
        leaves = Signal()
        m.d.comb += [
            some.eq(found_valid & found.touched.any()),
            joins.eq(held_valid & ~held.last),
            loads.eq(some | (found_valid & found.last & ~joins)),
            leaves.eq(held_valid & (held.last | some)),
        ]
        with m.If(advance):
            m.d.sync += [self.rows.payload.eq(held), self.rows.valid.eq(leaves)]
            with m.If(loads):
                m.d.sync += [held.eq(found), held_valid.eq(1)]
            with m.Elif(leaves):
                m.d.sync += held_valid.eq(0)
            with m.Elif(found_valid & found.last):
                m.d.sync += [held.last.eq(1), held.ends.eq(found.ends)]  # the bias is its output channel's


def _last(count: Signal, last: Signal, moves: Value, is_last: Signal) -> Value:
    """Whether a count that goes on from `last` to 0 will be `last` in the next cycle."""
    following = Mux(is_last, last == 0, count + 1 == last)
    return Mux(moves, following, count == last)
