"""Adds scaled products into the accumulators of a lane."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import TAPS, ArchonConfig, index_bits
from hw.rtl.accumulator_bank import bank_port
from hw.rtl.arithmetic import popcount
from hw.rtl.step_fetch import step

COUNTER_BITS = 40
"""Width of the counters of additions, steps and multiplications."""


class Accumulator(wiring.Component):
    """One step a cycle: A[k, c, d] += (-1)**negative * products[d] * 2**shift for all taps d, and the same for the bias.

    Members: `steps` in; `bank` the port of the bank being filled; `swap_ready` says that the other bank is drained; `swap`
    pulses when a pixel has ended and the banks change roles; `enable` holds the unit while banks are cleared; `start` zeroes
    the counters `additions` (entries updated by a non-zero masked product, bias updates) and `steps_done`.

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
        valid, end, owns_bias, advance, update = Signal(), Signal(), Signal(), Signal(), Signal()
        address = Signal(index_bits(config.depths.accumulator))
        output = Signal(index_bits(config.depths.output))
        m.d.comb += [
            advance.eq(self.enable & ~(valid & end & ~self.swap_ready)),
            self.steps.ready.eq(advance),
            self.swap.eq(advance & valid & end),
            update.eq(advance & valid & ~end),
        ]
        with m.If(advance):
            shifted_bias = (incoming.bias << incoming.shift)[: numerics.OUTPUT_ACCUMULATOR_BITS].as_signed()
            m.d.sync += [
                valid.eq(self.steps.valid),
                end.eq(incoming.end),
                address.eq(incoming.address),
                output.eq(incoming.output),
                owns_bias.eq(incoming.owns_bias),
                scaled_bias.eq(Mux(incoming.negative, -shifted_bias, shifted_bias)),
            ]
            for tap in range(TAPS):
                product = incoming.products[tap] << incoming.shift
                m.d.sync += [
                    scaled[tap].eq(Mux(incoming.negative, -product, product)),
                    touches[tap].eq(incoming.products[tap] != 0),
                ]

        # Update, read and write in one cycle.
        m.d.comb += [
            self.bank.address.eq(address),
            self.bank.output.eq(output),
            self.bank.write_taps.eq(Mux(update, touches, 0)),
            self.bank.write_bias.eq(update & owns_bias),
            self.bank.new_bias.eq(self.bank.bias + scaled_bias),
        ]
        m.d.comb += [self.bank.new_entries[tap].eq(self.bank.entries[tap] + scaled[tap]) for tap in range(TAPS)]

        with m.If(self.start):
            m.d.sync += [self.additions.eq(0), self.steps_done.eq(0)]
        with m.Elif(update):
            m.d.sync += [
                self.additions.eq(self.additions + popcount(touches) + owns_bias),
                self.steps_done.eq(self.steps_done + 1),
            ]
        return m
