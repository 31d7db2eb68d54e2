"""Combines writes of bytes of one word into one write."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.numerics import ACTIVATION_BITS
from hw.rtl.interfaces import OUTPUT_WRITE, WRITE


class WriteCombiner(wiring.Component):
    """Successive writes to bytes of the same word leave as one, in the order in which they came.

    A word is held until all its bytes are there, a write comes that does not belong to it (another word, or a byte that it
    has), or `flush` says that no more will come.

    Members: `input` writes; `output` writes; `flush` while nothing follows for now; `empty`: no word is held.

    Latency 1 cycle from a complete word's last byte, else 1 from what ends the word. Throughput 1 write a cycle, and a cycle
    more for a word that is not complete; stalls with `output`, whose offer comes from a register.
    """

    input: stream.Interface
    output: stream.Interface
    flush: Signal
    empty: Signal

    def __init__(self) -> None:
        super().__init__({"input": In(OUTPUT_WRITE), "output": Out(WRITE), "flush": In(1), "empty": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        incoming, word = self.input.payload, Signal.like(self.output.payload)
        held, offered, joins, enters, leaves = Signal(), Signal(), Signal(), Signal(), Signal()
        strobe = Signal.like(word.strobe)
        due: Value = (held & (self.flush | (self.input.valid & ~joins))) | (enters & strobe.all())
        m.d.comb += [
            joins.eq(held & incoming.follows & ((incoming.strobe & word.strobe) == 0)),
            self.output.payload.eq(word),
            self.output.valid.eq(offered),
            leaves.eq(self.output.valid & self.output.ready),
            # A word on offer may not change any more.
            self.input.ready.eq(~held | leaves | (joins & ~offered)),
            enters.eq(self.input.valid & self.input.ready),
            self.empty.eq(~held),
        ]
        m.d.comb += strobe.eq(Mux(held & ~leaves, word.strobe, 0) | incoming.strobe)
        # The offer comes from a register: memory's arbiter decides by it.
        m.d.sync += [offered.eq(Mux(leaves, enters & strobe.all(), offered | due)), held.eq(enters | (held & ~leaves))]
        with m.If(enters):
            taken = Cat(bit.replicate(ACTIVATION_BITS) for bit in incoming.strobe)
            m.d.sync += [
                word.address.eq(incoming.address),
                word.strobe.eq(strobe),
                word.data.eq((incoming.data & taken) | (word.data & ~taken)),
            ]
        return m
