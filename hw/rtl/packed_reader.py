"""Takes rows of table segments that lie several in a word off a stream of words."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.layout import WORD_BITS, Layout
from hw.rtl.interfaces import READ_DATA


class PackedReader(wiring.Component):
    """Reads rows of `layout`, layout.per_word a word; a word is taken with its first row, and kept for the others.

    Parameters: `layout`.

    Members: `restart`: the next row begins a new word; `words` in; `enable` takes a row; `valid`: there is one, `row`.

    Throughput 1 row a cycle; latency: combinational from a word to its first row, which stalls with `words`.
    """

    restart: Signal
    words: stream.Interface
    enable: Signal
    valid: Signal
    row: Signal

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        members = {"restart": In(1), "words": In(READ_DATA), "enable": In(1)}
        super().__init__(members | {"valid": Out(1), "row": Out(layout.width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept, left, empty = Signal(WORD_BITS), Signal(range(self._layout.per_word)), Signal()
        shown = Mux(empty, self.words.payload, kept)
        m.d.comb += [
            empty.eq(left == 0),
            self.words.ready.eq(self.enable & empty),
            self.valid.eq(~empty | self.words.valid),
            self.row.eq(shown),
        ]
        with m.If(self.restart):
            m.d.sync += left.eq(0)
        with m.Elif(self.enable & self.valid):
            m.d.sync += [kept.eq(shown >> self._layout.width), left.eq(Mux(empty, self._layout.per_word - 1, left - 1))]
        return m
