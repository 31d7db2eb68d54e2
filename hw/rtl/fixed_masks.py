"""The masks of a layer that is not fused: all ones."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.rtl.interfaces import JOB, slice_word


class FixedMasks(wiring.Component):
    """Lets every expanded channel of a fixed job survive at one pixel: what that accumulates serves all pixels of the job.

    Parameters: `config`.

    Members: `job`, `start`; `words` out: job.slices slice words of one pixel, all mask bits set. `start` abandons words that
    were not taken.

    Latency 1 cycle, throughput 1 word a cycle; stalls with `words`.
    """

    job: data.View
    start: Signal
    words: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"job": In(JOB), "start": In(1), "words": Out(stream.Signature(slice_word(config)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left, word = Signal.like(self.job.slices), self.words.payload
        m.d.comb += [
            self.words.valid.eq(left != 0),
            word.second.eq(~0),
            *(word.first[channel].eq((1 << self._config.taps) - 1) for channel in range(self._config.slice_channels)),
            word.last.eq(left == 1),
        ]
        with m.If(self.start):
            m.d.sync += left.eq(self.job.slices)
        with m.Elif(self.words.valid & self.words.ready):
            m.d.sync += left.eq(left - 1)
        return m
