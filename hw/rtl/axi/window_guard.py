"""Lets bursts pass that lie in a window of addresses, and no others."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import BYTE_ADDRESS_BITS, WORD_BYTES
from hw.rtl.axi.interfaces import BURST_MEMBERS, FAILURE, WINDOW


class WindowGuard(wiring.Component):
    """The only way to an address channel.

    Parameters: `extra`, bits that pass along with a burst.

    Members: `input` bursts, `output` those of them whose bytes all lie in `window` and below 2**BYTE_ADDRESS_BITS. Any other is
    taken and dropped, with `outside` in that cycle. While `stop`, none is taken; what `output` offers stays.

    Whatever comes in: while output.valid, output.payload is a burst that was in `window` when it was taken. `window` may change
    only while output.valid is low and nothing is offered.

    Latency 1 cycle, throughput 1 burst a cycle; stalls with `output`.
    """

    input: stream.Interface
    output: stream.Interface
    window: Any
    outside: Any
    stop: Signal

    def __init__(self, extra: int = 0) -> None:
        burst = stream.Signature(data.StructLayout({**BURST_MEMBERS, "extra": extra}))
        super().__init__(
            {"input": In(burst), "output": Out(burst), "window": In(WINDOW), "outside": Out(FAILURE), "stop": In(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        burst = self.input.payload
        end = burst.address + WORD_BYTES * burst.words
        inside, taken = Signal(), Signal()
        m.d.comb += [
            inside.eq((burst.address >= self.window.base) & (end <= self.window.limit) & (end <= 1 << BYTE_ADDRESS_BITS)),
            self.input.ready.eq((~self.output.valid | self.output.ready) & ~self.stop),
            taken.eq(self.input.valid & self.input.ready),
            self.outside.valid.eq(taken & ~inside),
            self.outside.address.eq(burst.address),
        ]
        with m.If(self.output.ready):
            m.d.sync += self.output.valid.eq(0)
        with m.If(taken):
            m.d.sync += [self.output.valid.eq(inside), self.output.payload.eq(burst)]
        return m
