"""Cuts read requests into bursts that AXI allows."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import BURST_WORDS_MAX, BYTE_ADDRESS_BITS, WORD_BYTES
from hw.rtl.axi.interfaces import BURST, WIDE_ADDRESS_BITS
from hw.rtl.interfaces import READ_REQUEST

BYTE_INDEX_BITS = (WORD_BYTES - 1).bit_length()


class BurstSplitter(wiring.Component):
    """Requests of words become bursts that end at multiples of BURST_WORDS_MAX words.

    Members: `read_request` in, word addresses; `base` byte address of word 0, of which whole words count; `bursts` out, in
    address order; a request of no words gives none.

    Latency 1 cycle, throughput 1 burst a cycle; stalls with `bursts`.
    """

    read_request: stream.Interface
    base: Signal
    bursts: stream.Interface

    def __init__(self) -> None:
        super().__init__({"read_request": In(READ_REQUEST), "base": In(BYTE_ADDRESS_BITS), "bursts": Out(BURST)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        request, burst = self.read_request.payload, self.bursts.payload
        address, remaining = Signal(WIDE_ADDRESS_BITS, name="address"), Signal.like(request.length, name="remaining")
        room, words = Signal(range(BURST_WORDS_MAX + 1)), Signal(range(BURST_WORDS_MAX + 1))
        m.d.comb += [
            room.eq(BURST_WORDS_MAX - (address >> BYTE_INDEX_BITS) % BURST_WORDS_MAX),
            words.eq(Mux(remaining < room, remaining, room)),
            burst.address.eq(address),
            burst.words.eq(words),
            self.bursts.valid.eq(remaining != 0),
            self.read_request.ready.eq((remaining == 0) | (self.bursts.ready & (remaining == words))),
        ]
        with m.If(self.bursts.valid & self.bursts.ready):
            m.d.sync += [remaining.eq(remaining - words), address.eq(address + words * WORD_BYTES)]
        with m.If(self.read_request.valid & self.read_request.ready):
            m.d.sync += [remaining.eq(request.length), address.eq(word_address(self.base, request.address))]
        return m


def word_address(base: Value, word: Value) -> Value:
    """The byte address of a word, WIDE_ADDRESS_BITS wide: it does not wrap."""
    return ((base >> BYTE_INDEX_BITS) + word) << BYTE_INDEX_BITS
