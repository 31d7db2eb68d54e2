"""Combining writes: every byte leaves once, unchanged, and no word waits without a reason."""

from amaranth.hdl import Mux, Signal

from formal.bench import Bench, moves
from hw.contract.numerics import ACTIVATION_BITS
from hw.rtl.write_combiner import WriteCombiner


def write_combiner() -> Bench:
    """Each byte leaves once, with its word's address, before a later one of the same place; with `flush` at the latest.

    A complete word leaves, one of which more may come waits.
    """
    bench = Bench()
    m = bench.m
    unit = WriteCombiner()
    bench.inside(unit)
    source, sink = unit.input, unit.output
    bench.offers(source)
    bench.takes(sink)
    bench.free(unit.flush)
    enters, leaves = bench.let(moves(source), name="enters"), bench.let(moves(sink), name="leaves")
    address = Signal.like(source.payload.address, name="address")  # of the last write
    with m.If(enters):
        m.d.sync += address.eq(source.payload.address)

    # What the requantizer says of a write.
    bench.assume(source.payload.follows == (source.payload.address == address))

    # What has entered and not left, byte by byte, all of one word.
    held = Signal.like(source.payload.strobe, name="held")
    m.d.sync += held.eq(Mux(leaves, 0, held) | Mux(enters, source.payload.strobe, 0))
    occupied = Signal(name="occupied")
    m.d.sync += occupied.eq(enters | (occupied & ~leaves))
    for index in range(len(held)):
        byte = Signal(ACTIVATION_BITS, name=f"byte{index}")
        arrives = enters & source.payload.strobe[index]
        with m.If(arrives):
            m.d.sync += byte.eq(source.payload.data.word_select(index, ACTIVATION_BITS))
        bench.check(~(arrives & held[index] & ~leaves))
        bench.check(~held[index] | (sink.payload.data.word_select(index, ACTIVATION_BITS) == byte))
    bench.check(unit.empty == ~occupied)
    bench.check(occupied | (held == 0))
    bench.check(~occupied | (sink.payload.address == address))
    bench.check(~occupied | (sink.payload.strobe == held))
    bench.check(~(enters & occupied & ~leaves) | (source.payload.address == address))

    # When a word leaves.
    bench.check(sink.valid <= occupied)
    bench.check(~(occupied & held.all()) | sink.valid)
    bench.check(~bench.before(occupied & ~leaves & unit.flush) | sink.valid)
    bench.check(~(source.valid & ~source.ready) | occupied)
    bench.check(~bench.before(source.valid & ~source.ready) | sink.valid)
    bench.check(~sink.valid | held.all() | bench.before(source.valid | unit.flush | (sink.valid & ~sink.ready)))
    bench.cover(leaves & held.all() & enters)
    bench.cover(leaves & unit.flush & (held == 3))
    return bench
