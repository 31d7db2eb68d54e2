"""Reads a run of consecutive words from external memory, asked for ahead."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ADDRESS_BITS
from hw.contract.layout import WORD_BITS
from hw.rtl.burst import BurstRequester
from hw.rtl.interfaces import READ_DATA, READ_REQUEST
from hw.rtl.queue import Queue


class Prefetcher(wiring.Component):
    """The words of a run, in order, from a queue that is filled ahead.

    Parameters: `word_bits`, width of the length of a run; `depth` of the queue, a quarter of which is asked for at a time.

    Members: `start` begins a run of `words` words at `address`, once all words of the run before were taken; `read_request`,
    `read_data`; `output` the words.

    Asks only for words that its queue has room for, so that it never stalls `read_data`. Latency 1 cycle from `start` to the
    first request, 2 from a word to the output; throughput 1 word a cycle.
    """

    start: Signal
    address: Signal
    words: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    output: stream.Interface

    def __init__(self, word_bits: int, depth: int) -> None:
        self._word_bits, self._depth = word_bits, depth
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "words": In(word_bits),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "output": Out(READ_DATA),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(WORD_BITS, self._depth)
        burst = max(1, self._depth // 4)
        m.submodules.requester = requester = BurstRequester(self._word_bits, burst)
        room = Signal(range(self._depth + 1), init=self._depth)
        enough, asked, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            requester.start.eq(self.start),
            requester.restart.eq(1),
            requester.address.eq(self.address),
            requester.words.eq(self.words),
            enough.eq(room >= burst),
            self.read_request.payload.eq(requester.read_request.payload),
            self.read_request.valid.eq(requester.read_request.valid & enough),
            requester.read_request.ready.eq(self.read_request.ready & enough),
            asked.eq(self.read_request.valid & self.read_request.ready),
            taken.eq(self.output.valid & self.output.ready),
        ]
        m.d.sync += room.eq(room - Mux(asked, self.read_request.payload.length, 0) + taken)
        wiring.connect(m, wiring.flipped(self.read_data), queue.input)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        return m
