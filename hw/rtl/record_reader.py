"""Takes the records of table segments off a stream of words."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.layout import WORD_BITS, Layout
from hw.rtl.interfaces import READ_DATA, struct


class RecordReader(wiring.Component):
    """Reads records of `layout.words` words, or short ones, which are the first words of such a record.

    Parameters: `layout`; `short_layout` of short records, or the same.

    Members: `words` in, taken while `enable`; `short`, stable: records are short, what they lack means nothing; `valid` in the
    cycle in which a record's last word is taken: `record` shows it then, `kept` from the next cycle until the next record is
    complete.
    """

    words: stream.Interface
    enable: Signal
    short: Signal
    valid: Signal
    record: data.View
    kept: data.View

    def __init__(self, layout: Layout, short_layout: Layout | None = None) -> None:
        self._layout, self._short_words = layout, (short_layout or layout).words
        shape = struct(layout)
        members = {"words": In(READ_DATA), "enable": In(1), "short": In(1)}
        super().__init__(members | {"valid": Out(1), "record": Out(shape), "kept": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        last, short_last = self._layout.words - 1, self._short_words - 1
        before = [Signal(WORD_BITS, name=f"word{index}") for index in range(last)]
        position = Signal(range(last + 1))
        taken = self.words.valid & self.enable
        shown: list[Value] = [*before, self.words.payload]
        ends = position == last
        if short_last != last:
            shown[short_last] = Mux(self.short, self.words.payload, before[short_last])
            ends = position == Mux(self.short, short_last, last)
        m.d.comb += [
            self.words.ready.eq(self.enable),
            self.valid.eq(taken & ends),
            Value.cast(self.record).eq(Cat(shown)[: self._layout.width]),
        ]
        with m.If(taken):
            m.d.sync += position.eq(Mux(self.valid, 0, position + 1))
            for index, word in enumerate(before):
                with m.If(position == index):
                    m.d.sync += word.eq(self.words.payload)
        with m.If(self.valid):
            m.d.sync += self.kept.eq(self.record)
        return m
