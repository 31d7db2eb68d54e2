"""Adds scaled products into the accumulators of a lane's adder row."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import TAPS, ArchonConfig
from hw.rtl.accumulator_bank import fill_port
from hw.rtl.arithmetic import add_with_carry, popcount
from hw.rtl.step_fetch import step

COUNTER_BITS = 40
"""Width of the counters of additions, steps and multiplications."""


class Accumulator(wiring.Component):
    """One step (hw.contract.tables.step_row) a cycle: adds scaled products to all taps of a row, and the scaled bias.

    Parameters: `config`.

    Members: `step` in, in every cycle; `banks` the ports of both banks; `filled[b]` pulses when bank b is complete; `stepped`,
    `added`: that a step was done, and how many terms it has added to entries whose masked product is not zero, and to biases.

    Pipeline: bank read beside scaling, addition and write, counts. Latency 2 cycles, throughput 1 step a cycle; never stalls.
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
                "banks": Out(fill_port(config)).array(2),
                "filled": Out(2),
                "stepped": Out(1),
                "added": Out(range(2 * (TAPS + 1) + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, incoming, pair = self._config, self.step, self.step.pair

        # Scaling registers.
        scaled = Signal(data.ArrayLayout(signed(config.widths.accumulator), TAPS))
        scaled_bias = Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS))
        valid, end, bank, second, carry, owns_bias = (
            Signal(name=name) for name in ("valid", "end", "bank", "second", "carry", "owns_bias")
        )
        touches = Signal(TAPS)
        row, place = (Signal.like(incoming[name], name=name) for name in ("row", "place"))
        m.d.sync += [
            valid.eq(incoming.valid),
            end.eq(incoming.end),
            bank.eq(incoming.bank),
            row.eq(incoming.row),
            place.eq(incoming.place),
            touches.eq(pair.touches),
            owns_bias.eq(pair.owns_bias),
            second.eq(incoming.second),
            carry.eq(incoming.second & incoming.second_negative),
            scaled_bias.eq(_scaled(incoming, pair.bias)),
            *(scaled[tap].eq(_scaled(incoming, pair.products[tap])) for tap in range(TAPS)),
        ]

        # Addition and write.
        entries, touched = Array(port.entries for port in self.banks)[bank], Array(port.touched for port in self.banks)[bank]
        bias = Array(port.bias for port in self.banks)[bank]
        for index, port in enumerate(self.banks):
            update = valid & (bank == index)
            m.d.comb += [
                self.filled[index].eq(end & (bank == index)),
                port.read_row.eq(incoming.row),
                port.read_place.eq(incoming.place),
                port.write_row.eq(row),
                port.write_place.eq(place),
                port.write_taps.eq(Mux(update, touches, 0)),
                port.new_touched.eq(touched | touches),
                port.write_bias.eq(update & owns_bias),
                port.new_bias.eq(add_with_carry(bias, scaled_bias, carry)),
            ]
            for tap in range(TAPS):
                entry = Mux(touched.bit_select(tap, 1), entries[tap], 0)
                m.d.comb += port.new_entries[tap].eq(add_with_carry(entry.as_signed(), scaled[tap], carry))

        updates = Signal(range(TAPS + 2))
        counted, counted_second = Signal(), Signal()
        m.d.sync += [
            updates.eq(popcount(Cat(touches, owns_bias))),
            counted.eq(valid),
            counted_second.eq(second),
            self.stepped.eq(counted),
            self.added.eq(Mux(counted, Mux(counted_second, updates << 1, updates), 0)),
        ]
        return m


def _scaled(terms: data.View, value: Value) -> Value:
    """The terms of a step times `value`, less one where the second one is negative: that is left to the next adder's carry."""
    first = (value << terms.shift) ^ terms.negative.replicate(len(value << terms.shift)).as_signed()
    second = (value << terms.second_shift) ^ terms.second_negative.replicate(len(value << terms.second_shift)).as_signed()
    return add_with_carry(first.as_signed(), Mux(terms.second, second, 0).as_signed(), terms.negative)
