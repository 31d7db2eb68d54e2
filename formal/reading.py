"""From words to records: burst requester and record reader."""

from amaranth.hdl import Cat, Mux, Signal, Value

from formal.bench import Bench, moves
from hw.contract.config import ADDRESS_BITS
from hw.contract.layout import WORD_BITS, Layout
from hw.rtl.burst import BurstRequester
from hw.rtl.record_reader import RecordReader


def burst_requester(word_bits: int, burst: int) -> Bench:
    """The requests of a run ask for each of its words once, for no other, in order of address, `burst` at most at a time.

    Assumed: `start` comes while idle only, and no run goes beyond the last address.
    """
    bench = Bench()
    m = bench.m
    unit = BurstRequester(word_bits, burst)
    inside = bench.inside(unit)
    bench.free(unit.start, unit.restart, unit.address, unit.words)
    bench.takes(unit.read_request)
    bench.assume(~unit.start | unit.idle)
    request = unit.read_request.payload

    # The run from `first` up to, without, `end`; words before `due` were asked for.
    first, due, end = (Signal(ADDRESS_BITS + 1, name=name) for name in ("first", "due", "end"))
    begin = bench.let(Mux(unit.restart, unit.address, due), ADDRESS_BITS + 1, name="begin")
    bench.assume(~unit.start | (begin + unit.words <= 1 << ADDRESS_BITS))
    word, times = bench.constant(ADDRESS_BITS, "word"), Signal(2, name="times")
    asked = bench.let(moves(unit.read_request), name="asked")
    covers = (word >= request.address) & (word < request.address + request.length)
    with m.If(unit.start):
        m.d.sync += [first.eq(begin), due.eq(begin), end.eq(begin + unit.words), times.eq(0)]
    with m.Elif(asked):
        m.d.sync += [due.eq(due + request.length), times.eq(times + covers)]
    with m.If(unit.read_request.valid):
        bench.check((request.address == due) & (request.length != 0) & (request.length <= burst))
        bench.check(due + request.length <= end)
        bench.check((request.length == burst) | (due + request.length == end))
    bench.check(unit.idle == (due == end))
    bench.check(times == ((word >= first) & (word < due)))
    with m.If(unit.idle):
        bench.check(times == ((word >= first) & (word < end)))
    bench.check((first <= due) & (due <= end) & (end <= 1 << ADDRESS_BITS))
    bench.check((end - due == inside.register("remaining")) & (due[:ADDRESS_BITS] == inside.register("next_address")))
    bench.check(inside.register("asking") == (end != due))
    bench.cover(unit.idle & (times == 1) & (end - first > 2 * burst))
    return bench


def record_reader(layout: Layout, short_layout: Layout | None = None) -> Bench:
    """A record is the last `layout.words` words taken, first one lowest; every word belongs to one record; `kept` keeps it.

    With `short_layout` all records may be such, and only what these have is looked at.
    """
    bench = Bench()
    m = bench.m
    unit = RecordReader(layout, short_layout)
    inside = bench.inside(unit)
    bench.free(unit.enable)
    bench.fixed(unit.short)
    few = short_layout or layout
    bench.offers(unit.words)
    taken = bench.let(moves(unit.words), name="taken")
    before = layout.words - 1
    words, position = Signal(max(1, before) * WORD_BITS, name="words"), Signal(range(layout.words + 1), name="position")
    kept, complete = Signal(layout.width, name="kept"), Signal(name="complete")
    record = bench.let(Cat(words[: before * WORD_BITS], unit.words.payload)[: layout.width], name="record")
    last = bench.let(Mux(unit.short, few.words - 1, before), name="last")
    if few.words < layout.words:
        short_record = Cat(words[: (few.words - 1) * WORD_BITS], unit.words.payload)[: few.width]
        with m.If(unit.short):
            m.d.comb += record.eq(short_record)
    ends = bench.let(taken & (position == last), name="ends")
    with m.If(taken):
        m.d.sync += position.eq(Mux(ends, 0, position + 1))
        for index in range(before):
            with m.If(position == index):
                m.d.sync += words.word_select(index, WORD_BITS).eq(unit.words.payload)
    with m.If(ends):
        m.d.sync += [kept.eq(record), complete.eq(1)]
    bench.check(unit.words.ready == unit.enable)
    bench.check(unit.valid == ends)
    for seen, expected, there in ((unit.record, record, ends), (unit.kept, kept, complete)):
        value = Value.cast(seen)
        bench.check(~there | Mux(unit.short, value[: few.width] == expected[: few.width], value == expected))
    bench.check((inside.register("position") == position) & (position <= last))
    for index in range(before):
        bench.check((position <= index) | (inside.register(f"word{index}") == words.word_select(index, WORD_BITS)))
    bench.cover(ends & complete & bench.before(taken))
    return bench
