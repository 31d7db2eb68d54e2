"""Adds scaled products into the accumulators of a lane."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import TAPS, ArchonConfig, index_bits
from hw.rtl.accumulator_bank import bank_port
from hw.rtl.arithmetic import add_with_carry, popcount
from hw.rtl.step_fetch import step

COUNTER_BITS = 40
"""Width of the counters of additions, steps and multiplications."""


class Accumulator(wiring.Component):
    """One step (hw.contract.tables.step_row) a cycle: adds scaled products to all taps of a row, and the scaled bias.

    Members: `steps` in; `bank` the port of the bank being filled; `swap_ready` says that the other bank is drained; `swap`
    pulses when a pixel has ended and the banks change roles; `enable` holds the unit while banks are cleared; `start` zeroes
    the counters `additions` (terms added to entries whose masked product is not zero, and to biases) and `steps_done`.

    Latency 1 cycle (scaling registers) plus the update; throughput 1 step a cycle; waits at a pixel's end for `swap_ready`.
    """

    steps: stream.Interface
    bank: Any
    start: Signal
    enable: Signal
    swap_ready: Signal
    swap: Signal
    additions: Signal
    steps_done: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "steps": In(stream.Signature(step(config))),
                "bank": Out(bank_port(config)),
                "start": In(1),
                "enable": In(1),
                "swap_ready": In(1),
                "swap": Out(1),
                "additions": Out(COUNTER_BITS),
                "steps_done": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, incoming = self._config, self.steps.payload

        # Scaling registers.
        scaled = Signal(data.ArrayLayout(signed(config.widths.accumulator), TAPS))
        scaled_bias = Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS))
        touches = Signal(TAPS)
        valid, end, owns_bias = (Signal(name=name) for name in ("valid", "end", "owns_bias"))
        advance, update = Signal(), Signal()
        second, carry = Signal(), Signal()
        address = Signal(index_bits(config.depths.accumulator))
        output = Signal(index_bits(config.depths.output))
        m.d.comb += [
            advance.eq(self.enable & ~(valid & end & ~self.swap_ready)),
            self.steps.ready.eq(advance),
            self.swap.eq(advance & valid & end),
            update.eq(advance & valid & ~end),
        ]
        with m.If(advance):
            m.d.sync += [
                valid.eq(self.steps.valid),
                end.eq(incoming.end),
                address.eq(incoming.address),
                output.eq(incoming.output),
                owns_bias.eq(incoming.owns_bias),
                second.eq(incoming.second),
                carry.eq(incoming.second & incoming.second_negative),
                scaled_bias.eq(_scaled(incoming, incoming.bias)),
            ]
            for tap in range(TAPS):
                product = incoming.products[tap]
                m.d.sync += [scaled[tap].eq(_scaled(incoming, product)), touches[tap].eq(product != 0)]

        # Update, read and write in one cycle.
        m.d.comb += [
            self.bank.address.eq(address),
            self.bank.output.eq(output),
            self.bank.write_taps.eq(Mux(update, touches, 0)),
            self.bank.write_bias.eq(update & owns_bias),
            self.bank.new_bias.eq(add_with_carry(self.bank.bias, scaled_bias, carry)),
        ]
        for tap in range(TAPS):
            m.d.comb += self.bank.new_entries[tap].eq(add_with_carry(self.bank.entries[tap], scaled[tap], carry))

        with m.If(self.start):
            m.d.sync += [self.additions.eq(0), self.steps_done.eq(0)]
        with m.Elif(update):
            updates = popcount(touches) + owns_bias
            m.d.sync += [
                self.additions.eq(self.additions + Mux(second, updates << 1, updates)),
                self.steps_done.eq(self.steps_done + 1),
            ]
        return m


def _scaled(step: data.View, value: Value) -> Value:
    """The terms of a step times `value`, less one where the second one is negative: that is left to the next adder's carry."""
    first = (value << step.shift) ^ step.negative.replicate(len(value << step.shift)).as_signed()
    second = (value << step.second_shift) ^ step.second_negative.replicate(len(value << step.second_shift)).as_signed()
    return add_with_carry(first.as_signed(), Mux(step.second, second, 0).as_signed(), step.negative)
