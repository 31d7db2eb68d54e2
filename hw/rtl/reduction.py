"""Adds the lanes' shares of an output."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.rtl.interfaces import PARTIAL


class Reduction(wiring.Component):
    """Sums one partial of every lane; all lanes deliver the same outputs in the same order.

    Members: `partials` one stream a lane; `sums` the total. Exact in 32 bits by the exporter's proof.
    Latency 1 cycle, throughput 1 sum a cycle.
    """

    partials: list[stream.Interface]
    sums: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._lanes = config.lanes
        super().__init__({"partials": In(PARTIAL).array(config.lanes), "sums": Out(PARTIAL)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        all_valid, accept = Signal(), Signal()
        addends: list[Value] = [lane.payload for lane in self.partials]
        while len(addends) > 1:
            addends = [
                (left + right)[: numerics.OUTPUT_ACCUMULATOR_BITS].as_signed()
                for left, right in zip(addends[::2], addends[1::2], strict=True)
            ]
        m.d.comb += accept.eq(all_valid & (~self.sums.valid | self.sums.ready))
        valid: Value = self.partials[0].valid
        for lane in self.partials[1:]:
            valid &= lane.valid
        m.d.comb += all_valid.eq(valid)
        m.d.comb += [lane.ready.eq(accept) for lane in self.partials]
        with m.If(accept):
            m.d.sync += [self.sums.payload.eq(addends[0]), self.sums.valid.eq(1)]
        with m.Elif(self.sums.ready):
            m.d.sync += self.sums.valid.eq(0)
        return m
