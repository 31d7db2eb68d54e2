"""Accumulators: an entry is the sum of its terms, and under the exporter's bound it never wraps."""

import dataclasses

from amaranth.hdl import Mux, Signal, Value, signed
from amaranth.lib import data, wiring

from formal.bench import Bench, moves
from hw.contract import numerics
from hw.contract.config import PRESETS, ArchonConfig, Widths
from hw.rtl.accumulator import Accumulator
from hw.rtl.accumulator_bank import AccumulatorBank


def accumulator_configuration(widths: Widths) -> ArchonConfig:
    """The tiny preset with these widths, and a bank of few rows: they are all alike."""
    tiny = PRESETS["tiny"]
    return dataclasses.replace(tiny, widths=widths, depths=dataclasses.replace(tiny.depths, accumulator=4, output=2))


class _Lane:
    """An accumulator with one bank that is drained between pixels; it stands for the two banks that take turns in a lane.

    After reset and from a pixel's end on, rows are cleared in any order, and steps wait until the followed cell is clear.

    Members: `unit`, `inside` it, `cells` of the bank, its `port`; `accepted`: a step is taken; `busy`: the
    scaling registers hold one; `draining`.
    """

    def __init__(self, bench: Bench, config: ArchonConfig) -> None:
        self._bench = bench
        m = bench.m
        bank = AccumulatorBank(config)
        self.unit, self.port = Accumulator(config), bank.port
        self.inside, self.cells = bench.inside(self.unit), bench.inside(bank, "bank")
        bench.offers(self.unit.steps)
        bench.free(self.unit.start, self.unit.swap_ready)
        self.accepted = moves(self.unit.steps)
        self.draining = Signal(init=1, name="draining")
        self.busy = self.inside.register("valid") & ~self.inside.register("end")
        m.d.comb += self.unit.enable.eq(bench.any_bit("enable") & ~self.draining)
        address, output = Signal.like(self.port.address, name="drain_row"), Signal.like(self.port.output, name="drain_output")
        bench.free(address, output)
        with m.If(self.draining):
            m.d.comb += [
                self.port.address.eq(address),
                self.port.output.eq(output),
                self.port.clear_taps.eq(bench.any_bit("clear_taps")),
                self.port.write_bias.eq(bench.any_bit("clear_bias")),
                self.port.new_bias.eq(0),
            ]
        with m.Else():
            wiring.connect(m, self.unit.bank, self.port)

    def cleared(self, clears: Value) -> Signal:
        """Whether the followed cell, which `clears` clears, was cleared since the pixel before."""
        m, clear = self._bench.m, Signal(name="clear")
        with m.If(self.draining):
            m.d.sync += [clear.eq(clear | clears), self.draining.eq(~(clear & self._bench.any_bit("drained")))]
        with m.If(self.unit.swap):
            m.d.sync += [self.draining.eq(1), clear.eq(0)]
        self._bench.check(self.draining | clear)
        return clear


class _Sum:
    """What a cell of the bank must hold, modulo 2**bits.

    Parameters: `bits` of the cell; `comes`: a step with these two terms is taken, see bench.let.

    Members: `done`, the sum of the terms that were added; `due`, the term in the scaling registers.
    """

    def __init__(self, bench: Bench, lane: _Lane, bits: int, comes: Value, terms: tuple[Value, Value]) -> None:
        self._bench, self._lane = bench, lane
        self.done, self.due = (Signal(signed(bits), name=name) for name in ("done", "due"))
        with bench.m.If(lane.unit.steps.ready):
            bench.m.d.sync += [
                self.done.eq(Mux(lane.unit.swap, 0, self.done + self.due)),
                self.due.eq(Mux(comes, terms[0] + terms[1], 0)),
            ]

    def holds(self, shown: Value, clear: Value, scaled: Value) -> None:
        """Check a cell, unless it is still that of the pixel before, and for induction the term in the registers."""
        self._bench.check(Mux(clear, shown.as_signed() == self.done, self.done == 0))
        self._bench.check(~self._lane.draining | (self.done == 0))
        self._bench.check(scaled == self.due)


def never_wraps(bits: int) -> Bench:
    """A sum of `bits` bits is the exact sum of its terms at every moment, whatever they are and in any order.

    Assumed: the exporter's bound (sw/bundle/bounds.py), that the magnitudes of all terms together fit in `bits` bits.
    """
    bench = Bench()
    m, limit = bench.m, 1 << (bits - 1)
    term = Signal(signed(bits), name="term")
    bench.free(term)
    total, exact, size = Signal(signed(bits), name="sum"), Signal(signed(2 * bits), name="exact"), Signal(bits, name="size")
    following = bench.let(size + _magnitude(term), name="size_next")
    bench.assume(following < limit)
    m.d.sync += [total.eq(total + term), exact.eq(exact + term), size.eq(following)]
    bench.check(total == exact)
    bench.check((_magnitude(exact) <= size) & (size < limit))
    bench.cover(total == limit - 1)
    bench.cover(total == 1 - limit)
    return bench


def entry(config: ArchonConfig, tap: int) -> Bench:
    """Every entry of a tap is the sum of the pixel's terms so far modulo its width, and touched when one of them is not 0."""
    bench = Bench()
    lane = _Lane(bench, config)
    step, cells, inside, bits = lane.unit.steps.payload, lane.cells, lane.inside, config.widths.accumulator
    row, product = bench.constant(len(lane.port.address), "row"), step.products[tap]
    clear = lane.cleared(lane.port.clear_taps & (lane.port.address == row))
    comes = bench.let(lane.accepted & ~step.end & (step.address == row), name="comes")
    total = _Sum(bench, lane, bits, comes, _terms(step, product))
    touched, touches = Signal(name="is_touched"), Signal(name="will_touch")
    with bench.m.If(lane.unit.steps.ready):
        bench.m.d.sync += [touched.eq(~lane.unit.swap & (touched | touches)), touches.eq(comes & (product != 0))]

    here = lane.busy & (inside.register("address") == row)
    scaled = inside.register("scaled").word_select(tap, bits) + inside.register("carry")
    flag = cells.row("touched", row)[tap]
    total.holds(Mux(flag, cells.row(f"tap{tap}", row), 0)[:bits], clear, Mux(here, scaled[:bits].as_signed(), 0))
    bench.check(Mux(clear, flag == touched, ~touched))
    bench.check(~lane.draining | ~touched)
    bench.check(Mux(here, inside.register("touches")[tap], 0) == touches)
    bench.check(touches | (total.due == 0))
    bench.cover(lane.unit.swap & touched & (total.done == -3))
    return bench


def bias(config: ArchonConfig) -> Bench:
    """Every bias accumulator is the sum of the pixel's terms so far modulo its width."""
    bench = Bench()
    lane = _Lane(bench, config)
    step, inside, bits = lane.unit.steps.payload, lane.inside, numerics.OUTPUT_ACCUMULATOR_BITS
    output = bench.constant(len(lane.port.output), "output")
    clear = lane.cleared(lane.port.write_bias & (lane.port.output == output))
    comes = bench.let(lane.accepted & ~step.end & step.owns_bias & (step.output == output), name="comes")
    total = _Sum(bench, lane, bits, comes, _terms(step, step.bias))
    here = lane.busy & inside.register("owns_bias") & (inside.register("output") == output)
    scaled = inside.register("scaled_bias") + inside.register("carry")
    total.holds(lane.cells.row("bias", output), clear, Mux(here, scaled[:bits].as_signed(), 0))
    bench.cover(lane.unit.swap & (total.done == 5))
    return bench


def _terms(step: data.View, value: Value) -> tuple[Value, Value]:
    """(-1)**negative * 2**shift * value, and the second term, 0 where the step has none (hw.contract.tables.step_row)."""
    first, second = value << step.shift, Mux(step.second, value << step.second_shift, 0)
    return Mux(step.negative, -first, first), Mux(step.second_negative, -second, second)


def _magnitude(value: Value) -> Value:
    return Mux(value < 0, -value, value).as_unsigned()
