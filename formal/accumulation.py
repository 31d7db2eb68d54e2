"""Accumulators: an entry is the sum of its terms, and under the exporter's bound it never wraps."""

import dataclasses

from amaranth.hdl import Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from formal.bench import Bench
from hw.contract import numerics
from hw.contract.config import PRESETS, ArchonConfig, Widths
from hw.rtl.accumulator import Accumulator, control
from hw.rtl.accumulator_bank import AccumulatorBank


def accumulator_configuration(widths: Widths) -> ArchonConfig:
    """The tiny preset with these widths, and a bank of few rows: they are all alike."""
    tiny = PRESETS["tiny"]
    return dataclasses.replace(tiny, widths=widths, depths=dataclasses.replace(tiny.depths, accumulator=4, output=2))


class _Lane:
    """An accumulator and its bank 0, which is walked and cleared between pixels; steps of bank 1 come too and go nowhere.

    Assumed, as hw.rtl.step_fetch has it: nothing comes for a bank from a pixel's end on until it is released. After reset and
    from the end on, rows are cleared in any order, and the bank is not released before the followed cell is clear.

    Members: `unit`, `inside` it, `cells` of the bank, `walk` its port; `step` coming; `here`: the step, or end, that comes is
    for bank 0; `shifted`, `now`: what goes along in the registers of its terms and of their sum; `early`, `due`: these hold a
    step for bank 0; `filled`: a pixel ends; `full`: the bank is being cleared.
    """

    def __init__(self, bench: Bench, config: ArchonConfig) -> None:
        self._bench = bench
        m = bench.m
        bank = AccumulatorBank(config)
        self.unit, self.walk = Accumulator(config), bank.walk
        self.inside, self.cells = bench.inside(self.unit), bench.inside(bank, "bank")
        self.step, self.filled = self.unit.step, self.unit.filled[0]
        bench.free(self.step)
        wiring.connect(m, self.unit.banks[0], bank.fill)
        bench.free(*(getattr(bank.walk, name) for name, member in bank.walk.signature.members.items() if member.flow is In))
        bench.free(bank.entry.row)
        self.full, self.taken = (Signal(init=1, name=name) for name in ("full", "taken"))
        m.d.comb += bank.full.eq(self.full)
        self.here = bench.let((self.step.valid | self.step.end) & ~self.step.bank, name="here")
        bench.assume(~(self.step.valid & self.step.end))
        bench.assume(~self.here | ~self.taken)
        stages = [data.View(control(config), self.inside.register(name)) for name in ("shifted", "now")]
        self.shifted, self.now = stages
        self.early, self.due = (bench.let(stage.valid & ~stage.bank, name="is_due") for stage in stages)
        ends, last_ends = (bench.let(stage.end & ~stage.bank, name="ends") for stage in stages)
        bench.check(self.taken == (self.full | ends | last_ends))
        bench.check((self.full + ends + last_ends) <= 1)
        bench.check(~(self.due & (self.full | last_ends)) & ~(self.early & self.taken))

    def cleared(self, clears: Value) -> Signal:
        """Whether the followed cell, which `clears` clears, was cleared since the pixel before."""
        m, clear = self._bench.m, Signal(name="clear")
        with m.If(self.full):
            release = clear & self._bench.any_bit("released")
            m.d.sync += [clear.eq(clear | clears), self.full.eq(~release), self.taken.eq(~release)]
        with m.If(self.here & self.step.end):
            m.d.sync += self.taken.eq(1)
        with m.If(self.filled):
            m.d.sync += [self.full.eq(1), clear.eq(0)]
        self._bench.check(self.full | clear)
        return clear


class _Sum:
    """What a cell of the bank must hold, modulo 2**bits.

    Parameters: `bits` of the cell; `comes`: a step with these two terms comes, see bench.let.

    Members: `done`, the sum of the terms that were added; `early`, `due`, what the registers before hold.
    """

    def __init__(self, bench: Bench, lane: _Lane, bits: int, comes: Value, terms: tuple[Value, Value]) -> None:
        self._bench, self._lane = bench, lane
        self.done, self.early, self.due = (Signal(signed(bits), name=name) for name in ("done", "early", "due"))
        bench.m.d.sync += [
            self.done.eq(Mux(lane.filled, 0, self.done + self.due)),
            self.early.eq(Mux(comes, terms[0] + terms[1], 0)),
            self.due.eq(self.early),
        ]

    def holds(self, memory: Value, clear: Value, shifted: Value, scaled: Value) -> None:
        """Check a cell, unless it is still that of the pixel before, and for induction what the registers hold."""
        self._bench.check(Mux(clear, memory.as_signed() == self.done, self.done == 0))
        self._bench.check(~self._lane.full | (self.done == 0))
        self._bench.check((shifted == self.early) & (scaled == self.due))


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
    """Every entry of a tap is the sum of the pixel's terms so far modulo its width, and touched when one of them is not 0.

    Assumed, as hw.rtl.pair_fetch has it: `touches` says which products are not 0.
    """
    bench = Bench()
    lane = _Lane(bench, config)
    step, cells, inside, bits = lane.step, lane.cells, lane.inside, config.widths.accumulator
    row, product = bench.constant(len(step.row), "row"), step.pair.products[tap]
    bench.assume(step.pair.touches[tap] == (product != 0))
    clear = lane.cleared(lane.walk.clear & (lane.walk.clear_row == row))
    comes = bench.let(lane.here & step.valid & (step.row == row), name="comes")
    total = _Sum(bench, lane, bits, comes, _terms(step, product))
    touched, touches, early = Signal(name="is_touched"), Signal(name="will_touch"), Signal(name="is_to_touch")
    bench.m.d.sync += [
        touched.eq(~lane.filled & (touched | touches)),
        touches.eq(early),
        early.eq(comes & (product != 0)),
    ]

    here, before = lane.due & (lane.now.row == row), lane.early & (lane.shifted.row == row)
    scaled = inside.register("scaled").word_select(tap, bits) + lane.now.carry
    shifted = _together(lane, *(inside.register(name).word_select(tap, _term_bits(config)) for name in ("first", "second")))
    flags, contents = cells.row("touched", row), cells.row(f"tap{tap}", row)
    in_registers = Mux(before, shifted[:bits].as_signed(), 0), Mux(here, scaled[:bits].as_signed(), 0)
    total.holds(Mux(flags[tap], contents, 0)[:bits], clear, *in_registers)
    with bench.m.If(here):
        bench.check((cells.shown("touched") == flags) & (inside.register("entries").word_select(tap, bits) == contents))
    bench.check(~lane.early | (cells.register(f"entry_row{tap}") == lane.shifted.row))
    bench.check(inside.register(f"bank_of_tap{tap}") == lane.shifted.bank)
    again = lane.now.valid & lane.now.touches[tap] & (lane.now.row == lane.shifted.row) & (lane.now.bank == lane.shifted.bank)
    bench.check(inside.register("again").bit_select(tap, 1) == again)
    bench.check(Mux(clear, flags[tap] == touched, ~touched))
    bench.check(~lane.full | ~touched)
    bench.check((Mux(here, lane.now.touches[tap], 0) == touches) & (Mux(before, lane.shifted.touches[tap], 0) == early))
    bench.check((touches | (total.due == 0)) & (early | (total.early == 0)))
    bench.cover(lane.filled & touched & (total.done == -3))
    return bench


def bias(config: ArchonConfig) -> Bench:
    """Every bias accumulator is the sum of the pixel's terms so far modulo its width."""
    bench = Bench()
    lane = _Lane(bench, config)
    step, inside, bits = lane.step, lane.inside, numerics.OUTPUT_ACCUMULATOR_BITS
    place = bench.constant(len(step.place), "place")
    clear = lane.cleared(lane.walk.clear_bias & (lane.walk.clear_place == place))
    comes = bench.let(lane.here & step.valid & step.pair.owns_bias & (step.place == place), name="comes")
    total = _Sum(bench, lane, bits, comes, _terms(step, step.pair.bias))
    here = lane.due & lane.now.owns_bias & (lane.now.place == place)
    before = lane.early & lane.shifted.owns_bias & (lane.shifted.place == place)
    scaled = inside.register("scaled_bias") + lane.now.carry
    shifted = _together(lane, inside.register("first_bias"), inside.register("second_bias"))
    contents = lane.cells.row("bias", place)
    total.holds(contents, clear, Mux(before, shifted[:bits].as_signed(), 0), Mux(here, scaled[:bits].as_signed(), 0))
    with bench.m.If(here):
        bench.check(lane.cells.shown("bias").as_unsigned() == contents)
    bench.cover(lane.filled & (total.done == 5))
    return bench


def _together(lane: _Lane, first: Value, second: Value) -> Value:
    """The sum of both terms with the carries that they leave."""
    return first.as_signed() + second.as_signed() + lane.shifted.negative + lane.shifted.carry


def _term_bits(config: ArchonConfig) -> int:
    return config.widths.product + config.widths.shift_max


def _terms(step: data.View, value: Value) -> tuple[Value, Value]:
    """(-1)**negative * 2**shift * value, and the second term, 0 where the step has none (hw.contract.tables.step_row)."""
    first, second = value << step.shift, Mux(step.second, value << step.second_shift, 0)
    return Mux(step.negative, -first, first), Mux(step.second_negative, -second, second)


def _magnitude(value: Value) -> Value:
    return Mux(value < 0, -value, value).as_unsigned()
