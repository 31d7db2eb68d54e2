"""Takes the records of table segments off a stream of words."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.layout import WORD_BITS, Layout
from hw.rtl.interfaces import READ_DATA, struct


class RecordReader(wiring.Component):
    """Reads records of `layout.words` words.

    Parameters: `layout`.

    Members: `words` in, taken while `enable`; `valid` in the cycle in which a record's last word is taken: `record` shows it
    then, `kept` from the next cycle until the next record is complete.
    """

    words: stream.Interface
    enable: Signal
    valid: Signal
    record: data.View
    kept: data.View

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        shape = struct(layout)
        super().__init__({"words": In(READ_DATA), "enable": In(1), "valid": Out(1), "record": Out(shape), "kept": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        last = self._layout.words - 1
        before = [Signal(WORD_BITS, name=f"word{index}") for index in range(last)]
        position = Signal(range(last + 1))
        taken = self.words.valid & self.enable
        m.d.comb += [
            self.words.ready.eq(self.enable),
            self.valid.eq(taken & (position == last)),
            Value.cast(self.record).eq(Cat(*before, self.words.payload)[: self._layout.width]),
        ]
        with m.If(taken):
            m.d.sync += position.eq(Mux(self.valid, 0, position + 1))
            for index, word in enumerate(before):
                with m.If(position == index):
                    m.d.sync += word.eq(self.words.payload)
        with m.If(self.valid):
            m.d.sync += self.kept.eq(self.record)
        return m
