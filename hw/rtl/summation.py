"""Adds up the sums of a job's pixels where one output is made of all of them."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS
from hw.rtl.interfaces import JOB, PARTIAL
from hw.rtl.output_walk import OutputWalk


class Summation(wiring.Component):
    """Passes sums on; in jobs with `job.summed` adds them, channel by channel, over all pixels and from job to job.

    Such a job begins from zero with job.sum_first, from what the job before left otherwise, and gives the totals, one for each
    output channel, with job.sum_last. Exact in 32 bits by the exporter's proof.

    Parameters: `config`.

    Members: `job`; `start` begins, once the job before is `finished`; `sums` in, pixels row-major in the band, channels within
    a pixel; `totals` out, those sums or, while the last pixel's come in, what they add up to; `finished` when all sums of the
    job were taken, until the next `start`.

    Latency: combinational; throughput 1 sum a cycle; stalls with `totals` where it gives any.
    """

    job: data.View
    start: Signal
    sums: stream.Interface
    totals: stream.Interface
    finished: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"job": In(JOB), "start": In(1), "sums": In(PARTIAL), "totals": Out(PARTIAL), "finished": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = signed(OUTPUT_ACCUMULATOR_BITS)
        m.submodules.walk = walk = OutputWalk(self._config)
        m.submodules.storage = storage = memory.Memory(shape=shape, depth=self._config.depths.output, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        fresh, started, gives, accepted = Signal(), Signal(), Signal(), Signal()
        total = Signal(shape)
        m.d.comb += [
            walk.job.eq(self.job),
            walk.start.eq(self.start),
            walk.all_pixels.eq(1),
            walk.advance.eq(accepted),
            read.addr.eq(walk.channel),
            total.eq(self.sums.payload + Mux(fresh, 0, read.data)),
            write.addr.eq(walk.channel),
            write.data.eq(total),
            write.en.eq(accepted),
            gives.eq(~self.job.summed | (self.job.sum_last & walk.last_pixel)),
            self.totals.payload.eq(Mux(self.job.summed, total, self.sums.payload)),
            self.totals.valid.eq(self.sums.valid & walk.active & gives),
            self.sums.ready.eq(walk.active & (self.totals.ready | ~gives)),
            accepted.eq(self.sums.valid & self.sums.ready),
            self.finished.eq(started & ~self.start & ~walk.active),
        ]
        m.d.sync += started.eq(started | self.start)
        # The first pixel's sums overwrite what the memory holds.
        with m.If(self.start):
            m.d.sync += fresh.eq(self.job.sum_first)
        with m.Elif(accepted & walk.last_channel):
            m.d.sync += fresh.eq(0)
        return m
