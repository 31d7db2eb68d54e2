"""Makes the outputs' sums of the lanes' shares."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig, index_bits
from hw.rtl.interfaces import JOB, PARTIAL


class Reduction(wiring.Component):
    """Sums one partial of every lane; all lanes deliver the same outputs in the same order.

    With `job.depthwise` every partial is a sum of its own: lane 0's, then lane 1's, and so on, job.input_channels for a pixel;
    what lanes deliver beyond that for the pixel is dropped.

    Parameters: `config`.

    Members: `job`; `start` begins, when all sums of the job before were taken; `partials` one stream a lane; `sums`.

    Exact in 32 bits by the exporter's proof. Latency 1 cycle, throughput 1 sum a cycle; stalls with `sums`.
    """

    job: data.View
    start: Signal
    partials: list[stream.Interface]
    sums: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"job": In(JOB), "start": In(1), "partials": In(PARTIAL).array(config.lanes), "sums": Out(PARTIAL)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depthwise = self.job.depthwise
        addends: list[Value] = [lane.payload for lane in self.partials]
        while len(addends) > 1:
            addends = [
                (left + right)[: numerics.OUTPUT_ACCUMULATOR_BITS].as_signed()
                for left, right in zip(addends[::2], addends[1::2], strict=True)
            ]
        all_valid: Value = self.partials[0].valid
        for lane in self.partials[1:]:
            all_valid &= lane.valid

        # Depthwise: a channel's lane are the last bits of its number.
        lanes = len(self.partials)
        channel = Signal(index_bits(self._config.depths.output + lanes))
        number = channel % lanes
        exists, room, accept, accept_one = Signal(), Signal(), Signal(), Signal()
        chosen = Array(self.partials)[number] if lanes > 1 else self.partials[0]
        m.d.comb += [
            exists.eq(channel < self.job.input_channels),
            room.eq(~self.sums.valid | self.sums.ready),
            accept.eq(~depthwise & all_valid & room),
            accept_one.eq(depthwise & chosen.valid & (room | ~exists)),
        ]
        m.d.comb += [lane.ready.eq(accept | (accept_one & (number == index))) for index, lane in enumerate(self.partials)]
        with m.If(accept | (accept_one & exists)):
            m.d.sync += [self.sums.payload.eq(Mux(depthwise, chosen.payload, addends[0])), self.sums.valid.eq(1)]
        with m.Elif(self.sums.ready):
            m.d.sync += self.sums.valid.eq(0)
        with m.If(accept_one):
            last = (number == lanes - 1) & (channel + 1 >= self.job.input_channels)
            m.d.sync += channel.eq(Mux(last, 0, channel + 1))
        with m.If(self.start):
            m.d.sync += channel.eq(0)
        return m
