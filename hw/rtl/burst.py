"""Asks external memory for a run of consecutive words, in bursts."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.contract.config import ADDRESS_BITS
from hw.rtl.interfaces import READ_REQUEST

BURST_WORDS = 64
"""Words of one request at most: other clients of the memory wait no longer than that."""


class BurstRequester(wiring.Component):
    """Turns a run of words into read requests of at most `burst` words, in address order.

    Parameters: `word_bits`, width of the length of a run; `burst`, a power of two.

    Members: `start` begins a run of `words` words (one cycle, only while `idle`), at `address` with `restart` set, else
    where the run before ended; `idle`: every request of the run was accepted; `read_request` out.

    First request 1 cycle after `start`, then 1 request a cycle; stalls with `read_request`.
    """

    start: Signal
    restart: Signal
    address: Signal
    words: Signal
    idle: Signal
    read_request: stream.Interface

    def __init__(self, word_bits: int, burst: int = BURST_WORDS) -> None:
        self._burst = burst
        super().__init__(
            {
                "start": In(1),
                "restart": In(1),
                "address": In(ADDRESS_BITS),
                "words": In(word_bits),
                "idle": Out(1),
                "read_request": Out(READ_REQUEST),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        next_address = Signal(ADDRESS_BITS)
        # Whole bursts and what is left over are counted apart: nothing that wide is compared or subtracted.
        remaining = Signal.like(self.words)
        left_over, bursts = remaining[: exact_log2(self._burst)], remaining[exact_log2(self._burst) :]
        # Whether any are left comes from a register: memory's arbiters decide by it.
        length, asking = Signal(range(self._burst + 1)), Signal()
        m.d.comb += [
            self.idle.eq(~asking),
            length.eq(Mux(bursts.any(), self._burst, left_over)),
            self.read_request.payload.address.eq(next_address),
            self.read_request.payload.length.eq(length),
            self.read_request.valid.eq(asking),
        ]
        with m.If(self.read_request.valid & self.read_request.ready):
            m.d.sync += [next_address.eq(next_address + length), asking.eq((bursts > 1) | (bursts.any() & left_over.any()))]
            with m.If(bursts.any()):
                m.d.sync += bursts.eq(bursts - 1)
            with m.Else():
                m.d.sync += left_over.eq(0)
        with m.If(self.start):
            m.d.sync += [remaining.eq(self.words), asking.eq(self.words != 0)]
            with m.If(self.restart):
                m.d.sync += next_address.eq(self.address)
        return m
