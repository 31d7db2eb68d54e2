"""The survivor scan visits each survivor once."""

import dataclasses

from amaranth.asserts import Initial
from amaranth.hdl import Cat, Mux, Signal, Value

from formal.bench import Bench, Inside, moves
from hw.contract.config import PRESETS, ArchonConfig
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import popcount
from hw.rtl.survivor_scan import SurvivorScan


def scan_configuration(slice_channels: int, rows: int) -> ArchonConfig:
    """The tiny preset with narrower slices and so many rows of membership."""
    tiny = PRESETS["tiny"]
    depths = dataclasses.replace(tiny.depths, turned_slices=rows, pair=max(2, slice_channels * rows))
    return dataclasses.replace(tiny, slice_channels=slice_channels, depths=depths)


def survivor_scan(slice_channels: int, rows: int) -> Bench:
    """Of each pixel, every pair with membership and m2 comes once, in order, with its number and taps; then one end mark.

    For every number of turns and slices that have room in `rows` rows (a power of two) of membership, whatever lies in them.
    Assumed: the running job's half of the table is not written; `start` comes between pixels, in a cycle without a word;
    `last` marks each pixel's last slice.
    """
    bench = Bench()
    unit = SurvivorScan(scan_configuration(slice_channels, rows))
    inside = bench.inside(unit)
    words, survivors, write = unit.words, unit.survivors, unit.table_write
    bench.fixed(unit.job)
    bench.free(unit.start, write.valid, write.half, write.kind, write.row, write.data)
    bench.offers(words)
    # The rest of an end mark means nothing.
    bench.takes(survivors, Mux(survivors.payload.end, 1, Cat(0, survivors.payload.pair, survivors.payload.taps)))
    members = _membership(bench, inside, unit, rows)
    walk = _Walk(bench, unit, members)

    expected = bench.let(walk.survive & ~walk.came, name="expected")
    lowest = bench.let((expected & -expected)[: len(expected)], name="lowest")
    with bench.m.If(survivors.valid & survivors.payload.end):
        bench.check(walk.end_due)
    offered = survivors.valid & ~survivors.payload.end
    with bench.m.If(offered):
        bench.check(words.valid & ~walk.end_due & (expected != 0))
        bench.check(survivors.payload.pair == popcount(Cat(members) & (lowest - 1)))
        for channel in range(slice_channels):
            chosen = Cat(lowest[row * slice_channels + channel] for row in range(rows)).any()
            bench.check(~chosen | (survivors.payload.taps == words.payload.first[channel]))
    came = bench.let(offered & survivors.ready, name="survivor_came")
    with bench.m.If(moves(words)):
        bench.check((Mux(came, expected & ~lowest, expected) == 0) & ~walk.end_due)
    # An end mark waits for nothing but its taker.
    bench.check(~walk.end_due | survivors.valid)
    walk.go_on(came, lowest)
    bench.cover(moves(words) & words.payload.last & (walk.slices > 1) & (walk.turns > 1) & (popcount(walk.came) > 1))
    bench.cover(walk.end_due & bench.before(words.valid & (walk.came != 0)))
    _registers(bench, inside, walk, members, rows)
    return bench


class _Walk:
    """Where in its job a scan must be.

    Members: `turns`, `slices` of the job; `begun`: it has started; `slice_index`, `first_row` of the current word; `survive`,
    of all rows the bits that survive in it; `came`, those that were taken; `end_due`: the pixel's end mark comes next.
    """

    def __init__(self, bench: Bench, unit: SurvivorScan, members: list[Signal]) -> None:
        self._bench, self._unit, self._words = bench, unit, unit.words
        rows, bits = len(members), len(Cat(members))
        self.turns, self.slices = (bench.constant(range(rows + 1), name) for name in ("turns", "slices"))
        self.slice_index, self.first_row = (Signal(range(rows), name=name) for name in ("slice", "first_row"))
        self.begun, self.end_due = (Signal(name=name) for name in ("begun", "end_due"))
        self.came, self.survive = (Signal(bits, name=name) for name in ("came", "survive"))
        self.between = (self.slice_index == 0) & ~self.end_due & (self.came == 0)
        bench.assume((unit.job.turns == self.turns) & (self.turns != 0))
        bench.assume((self.slices != 0) & (self.turns * self.slices <= rows))
        last = self.slice_index == self.slices - 1
        bench.assume(~self._words.valid | (self.begun & (self._words.payload.last == last)))
        bench.assume(~unit.start | (self.between & ~self._words.valid))
        for row, contents in enumerate(members):
            inside = (row >= self.first_row) & (row < self.first_row + self.turns)
            survivors = Mux(inside, contents & self._words.payload.second, 0)
            bench.m.d.comb += self.survive.word_select(row, len(contents)).eq(survivors)

    def go_on(self, came: Value, which: Value) -> None:
        """The next cycle, after a survivor came, or a word or an end mark was taken."""
        m, survivors = self._bench.m, self._unit.survivors
        with m.If(came):
            m.d.sync += self.came.eq(self.came | which)
        with m.If(moves(survivors) & survivors.payload.end):
            m.d.sync += self.end_due.eq(0)
        with m.If(moves(self._words)):
            m.d.sync += [self.came.eq(0), self.slice_index.eq(self.slice_index + 1)]
            m.d.sync += self.first_row.eq(self.first_row + self.turns)
            with m.If(self._words.payload.last):
                m.d.sync += [self.slice_index.eq(0), self.first_row.eq(0), self.end_due.eq(1)]
        with m.If(self._unit.start):
            m.d.sync += self.begun.eq(1)
        self.waits = self._bench.before(self._words.valid & ~self._words.ready)


def _membership(bench: Bench, inside: Inside, unit: SurvivorScan, rows: int) -> list[Signal]:
    """The membership rows of the job's half: anything, and the same as long as the proof lasts."""
    write = unit.table_write
    bench.assume(~(write.valid & (write.kind == TableKind.MEMBERSHIP) & (write.half == unit.job.half)))
    members = []
    for row in range(rows):
        contents = bench.constant(len(unit.words.payload.second), f"members{row}")
        stored = inside.row("membership.storage", Mux(unit.job.half, row + rows, row))
        with bench.m.If(Initial()):
            bench.assume(stored == contents)
        bench.check(stored == contents)
        members.append(contents)
    return members


def _registers(bench: Bench, inside: Inside, walk: _Walk, members: list[Signal], rows: int) -> None:
    """What the unit's registers hold meanwhile, for induction."""
    channels, waits, end_due, came = len(members[0]), walk.waits, walk.end_due, walk.came
    address, base, turn = inside.register("address"), inside.register("base"), inside.register("turn")
    visited, read = inside.register("visited"), inside.shown("membership.storage")
    fresh = (turn == 0) & (visited == 0) & (came == 0)
    bench.check((inside.register("ending") == end_due) & (walk.begun | walk.between))
    bench.check((walk.slice_index < walk.slices) & (walk.first_row == walk.turns * walk.slice_index))
    with bench.m.If(walk.begun):
        bench.check(turn < walk.turns)
        bench.check((waits & ~end_due) | fresh)
        bench.check(~end_due | (walk.slice_index == 0))
    with bench.m.If(walk.begun & ~end_due):
        bench.check(address == walk.first_row + turn)
        bench.check(base == popcount(Cat(Mux(row < address, members[row], 0) for row in range(rows))))
    for row in range(rows):
        with bench.m.If(walk.begun & ~end_due & (address == row)):
            bench.check(read == members[row])
            here = walk.survive.word_select(row, channels)
            before = Cat(Mux(other < row, walk.survive.word_select(other, channels), 0) for other in range(rows))
            left = here & ~visited
            bench.check(~waits | ((came == before | (visited << (row * channels))) & ((visited & ~here) == 0)))
            bench.check(~waits | (left == 0) | ((visited & (left - 1)[:channels]) == visited))
