"""Adds scaled products into the accumulators of a lane's adder row."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.rtl.accumulator_bank import fill_port, place_bits, row_bits, tile_bits
from hw.rtl.arithmetic import add_with_carry, popcount
from hw.rtl.pipeline import copies
from hw.rtl.step_fetch import step

COUNTER_BITS = 40
"""Width of the counters of additions, steps and multiplications."""


def control(config: ArchonConfig) -> data.StructLayout:
    """What goes along with the numbers of a step; `negative`, `carry`: carries that its first and second term leave."""
    return data.StructLayout(
        {
            "valid": 1,
            "end": 1,
            "bank": tile_bits(config),
            "row": row_bits(config),
            "place": place_bits(config),
            "touches": config.taps,
            "owns_bias": 1,
            "second": 1,
            "negative": 1,
            "carry": 1,
        }
    )


class Accumulator(wiring.Component):
    """One step (hw.contract.tables.step_row) a cycle: adds scaled products to all taps of a row, and the scaled bias.

    Parameters: `config`.

    Members: `step` in, in every cycle; `banks` the ports of all banks; `filled[b]` pulses when bank b is complete; `stepped`,
    `added`: that a step was done, and how many terms it has added to entries whose masked product is not zero, and to biases.

    Pipeline: shifts; bank read beside the sum of both terms; addition and write; counts. What a step writes while the next one
    reads the same entries goes to that one directly. Latency 3 cycles, throughput 1 step a cycle; never stalls.
    """

    step: Any
    banks: list[Any]
    filled: Signal
    stepped: Signal
    added: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "step": In(step(config)),
                "banks": Out(fill_port(config)).array(config.pixel_tile),
                "filled": Out(config.pixel_tile),
                "stepped": Out(1),
                "added": Out(range(2 * (config.taps + 1) + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, step = self._config, self.step
        shifted: Any = Signal(control(config))
        now: Any = Signal(control(config))

        # Both terms, shifted, then their sum; of a negative second term the carry is left to the next adder.
        term = data.ArrayLayout(signed(config.widths.product + config.widths.shift_max), config.taps)
        first, second = (Signal(term, name=name) for name in ("first", "second"))
        scaled = Signal(data.ArrayLayout(signed(config.widths.accumulator), config.taps))
        first_bias, second_bias, scaled_bias = (
            Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS), name=name) for name in ("first_bias", "second_bias", "scaled_bias")
        )
        for name in ("valid", "end", "bank", "row", "place", "negative", "second"):
            m.d.sync += shifted[name].eq(step[name])
        m.d.sync += [
            shifted.touches.eq(step.pair.touches),
            shifted.owns_bias.eq(step.pair.owns_bias),
            shifted.carry.eq(step.second & step.second_negative),
            first_bias.eq(_first(step, step.pair.bias)),
            second_bias.eq(_second(step, step.pair.bias)),
            now.eq(shifted),
            scaled_bias.eq(add_with_carry(first_bias, second_bias, shifted.negative)),
        ]
        for tap in range(config.taps):
            m.d.sync += [
                first[tap].eq(_first(step, step.pair.products[tap])),
                second[tap].eq(_second(step, step.pair.products[tap])),
                scaled[tap].eq(add_with_carry(first[tap], second[tap], shifted.negative)),
            ]

        # Addition and write.
        entries, summed = (Signal(scaled.shape(), name=name) for name in ("entries", "summed"))
        # The taps that `now` writes where `shifted` reads, from a register: known when both were a stage earlier.
        repeated, again = Signal(), Signal(config.taps)
        m.d.comb += repeated.eq(shifted.valid & (shifted.row == step.row) & (shifted.bank == step.bank))
        m.d.sync += again.eq(Mux(repeated, shifted.touches, 0))
        banks = copies(m, step.bank, config.taps, "bank_of_tap")
        for tap in range(config.taps):
            read = Array(port.entries[tap] for port in self.banks)[banks[tap]]
            m.d.sync += entries[tap].eq(Mux(again.bit_select(tap, 1), summed[tap], read))
        touched = Array(port.touched for port in self.banks)[now.bank]
        bias = Array(port.bias for port in self.banks)[now.bank]
        for index, port in enumerate(self.banks):
            update = now.valid & (now.bank == index)
            m.d.comb += [
                self.filled[index].eq(now.end & (now.bank == index)),
                port.entry_row.eq(step.row),
                port.read_row.eq(shifted.row),
                port.read_place.eq(shifted.place),
                port.write_row.eq(now.row),
                port.write_place.eq(now.place),
                port.write_taps.eq(Mux(update, now.touches, 0)),
                port.new_touched.eq(touched | now.touches),
                port.write_bias.eq(update & now.owns_bias),
                port.new_bias.eq(add_with_carry(bias, scaled_bias, now.carry)),
                port.new_entries.eq(summed),
            ]
        for tap in range(config.taps):
            entry = Mux(touched.bit_select(tap, 1), entries[tap], 0)
            m.d.comb += summed[tap].eq(add_with_carry(entry.as_signed(), scaled[tap], now.carry))
        self._count(m, now)
        return m

    def _count(self, m: Module, now: Any) -> None:
        """Registers: updates of the step, then its additions."""
        updates, counted, both = Signal(range(self._config.taps + 2)), Signal(), Signal()
        m.d.sync += [
            updates.eq(popcount(Cat(now.touches, now.owns_bias))),
            counted.eq(now.valid),
            both.eq(now.second),
            self.stepped.eq(counted),
            self.added.eq(Mux(counted, Mux(both, updates << 1, updates), 0)),
        ]


def _first(terms: data.View, value: Value) -> Value:
    """The first term of a step times `value`, less one where it is negative."""
    shifted = value << terms.shift
    return (shifted ^ terms.negative.replicate(len(shifted)).as_signed()).as_signed()


def _second(terms: data.View, value: Value) -> Value:
    """The same of the second term, 0 where there is none."""
    shifted = value << terms.second_shift
    return Mux(terms.second, shifted ^ terms.second_negative.replicate(len(shifted)).as_signed(), 0).as_signed()
