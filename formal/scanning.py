"""The survivor scan visits each survivor once, and numbers it."""

import dataclasses
import functools
import operator
from dataclasses import dataclass

from amaranth.asserts import Initial
from amaranth.hdl import Cat, Mux, Signal, Value
from amaranth.lib import data

from formal.bench import Bench, Inside, moves
from hw.contract.config import PRESETS, ArchonConfig
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import popcount, tree_sum
from hw.rtl.survivor_scan import GROUP, PairNumbers, SurvivorSearch


def scan_configuration(slice_channels: int, rows: int) -> ArchonConfig:
    """The tiny preset with narrower slices and so many rows of membership."""
    tiny = PRESETS["tiny"]
    depths = dataclasses.replace(tiny.depths, turned_slices=rows, pair=max(2, slice_channels * rows))
    return dataclasses.replace(tiny, slice_channels=slice_channels, depths=depths)


def survivor_search(slice_channels: int, rows: int) -> Bench:
    """Of each pixel, every pair with membership and m2 comes once, in order, with its row and taps; then one end mark.

    For every number of turns and slices that have room in `rows` rows (a power of two) of membership, whatever lies in them.
    Every row is left once, in order, when all that survives in it came. Assumed: the running job's half of the table is not
    written; `start` comes between pixels, in a cycle without a word; `last` marks each pixel's last slice.
    """
    bench = Bench()
    unit = SurvivorSearch(scan_configuration(slice_channels, rows))
    inside = bench.inside(unit)
    words, visits, write = unit.words, unit.visits, unit.table_write
    bench.fixed(unit.job)
    bench.free(unit.start, write.valid, write.half, write.kind, write.row, write.data)
    bench.offers(words)
    found = visits.payload
    # The rest of an end mark means nothing.
    bench.takes(visits, Mux(found.end, 1, Cat(0, found.found, found.leaves, found.members, found.lowest, found.taps)))
    members = _membership(bench, inside, unit, rows)
    walk = _Walk(bench, unit, members)

    left = bench.let(walk.survive & ~walk.came, name="left")
    here = bench.let(_row(left, walk.here.row, rows), slice_channels, name="left_here")
    lowest = bench.let((here & -here)[:slice_channels], name="lowest_left")
    with bench.m.If(visits.valid & found.end):
        bench.check(walk.end_due)
    with bench.m.If(visits.valid & ~found.end):
        bench.check(words.valid & ~walk.end_due)
        bench.check(found.members == _row(Cat(members), walk.here.row, rows))
        bench.check((found.lowest == lowest) & (found.found == (here != 0)) & (found.leaves == ((here & ~lowest) == 0)))
        for channel in range(slice_channels):
            for group in range(len(found.taps)):
                taps = Mux(channel // GROUP == group, words.payload.first[channel], 0)
                bench.check(~lowest[channel] | (found.taps[group] == taps))
    came = bench.let(Mux(moves(visits) & ~found.end, lowest, 0), slice_channels, name="came_now")
    leaves = bench.let(moves(visits) & ~found.end & found.leaves, name="leaves_now")
    bench.check(moves(words) == (leaves & (walk.here.turn == walk.turns - 1)))
    with bench.m.If(moves(words)):
        bench.check((left == walk.bits(came)) & ~walk.end_due)
    # An end mark waits for nothing but its taker.
    bench.check(~walk.end_due | visits.valid)
    walk.go_on(came, leaves)
    bench.cover(moves(words) & words.payload.last & (walk.slices > 1) & (walk.turns > 1) & (popcount(walk.came) > 1))
    bench.cover(walk.end_due & bench.before(words.valid & (walk.came != 0)))
    _registers(bench, inside, walk, members, rows)
    return bench


@dataclass
class _Place:
    """A row of a pixel: number of its slice, its turn, and the row itself."""

    slice: Value
    turn: Value
    row: Value


class _Walk:
    """Where in its job a search must be.

    Members: `turns`, `slices` of the job; `begun`: it has started; `here`: the row to be visited; `survive`, of all rows the
    bits that survive in the current word; `came`, those that were taken; `end_due`: the pixel's end mark comes next.
    """

    def __init__(self, bench: Bench, unit: SurvivorSearch, members: list[Signal]) -> None:
        self._bench, self._unit, self._words = bench, unit, unit.words
        rows, bits = len(members), len(Cat(members))
        self.turns, self.slices = (bench.constant(range(rows + 1), name) for name in ("turns", "slices"))
        self.here = _Place(*(Signal(range(rows + 1), name=name) for name in ("slice_here", "turn_here", "row_here")))
        self.begun, self.end_due = (Signal(name=name) for name in ("begun", "end_due"))
        self.came, self.survive = (Signal(bits, name=name) for name in ("came", "survive"))
        self.between = (self.here.row == 0) & ~self.end_due & (self.came == 0)
        bench.assume((unit.job.turns == self.turns) & (self.turns != 0))
        bench.assume((unit.job.slices == self.slices) & (self.slices != 0) & (self.turns * self.slices <= rows))
        last = self.here.slice == self.slices - 1
        bench.assume(~self._words.valid | (self.begun & (self._words.payload.last == last)))
        bench.assume(~unit.start | (self.between & ~self._words.valid))
        first_row = self.here.slice * self.turns
        for row, contents in enumerate(members):
            inside = (row >= first_row) & (row < first_row + self.turns)
            survivors = Mux(inside, contents & self._words.payload.second, 0)
            bench.m.d.comb += self.survive.word_select(row, len(contents)).eq(survivors)

    def after(self, place: _Place) -> _Place:
        """The row that follows: the pixel's last one is followed by the next pixel's first one."""
        last_turn = place.turn == self.turns - 1
        last = last_turn & (place.slice == self.slices - 1)
        return _Place(Mux(last, 0, place.slice + last_turn), Mux(last_turn, 0, place.turn + 1), Mux(last, 0, place.row + 1))

    def bits(self, came: Value) -> Value:
        """Bits of the current row among those of all rows."""
        return (came << (self.here.row * len(came)))[: len(self.came)]

    def go_on(self, came: Value, leaves: Value) -> None:
        """The next cycle, after these bits of the current row came, or the row was left, or a word or an end mark was taken."""
        m, visits, following = self._bench.m, self._unit.visits, self.after(self.here)
        m.d.sync += self.came.eq(self.came | self.bits(came))
        with m.If(moves(visits) & visits.payload.end):
            m.d.sync += self.end_due.eq(0)
        with m.If(leaves):
            m.d.sync += [
                self.here.slice.eq(following.slice),
                self.here.turn.eq(following.turn),
                self.here.row.eq(following.row),
            ]
        with m.If(moves(self._words)):
            m.d.sync += [self.came.eq(0), self.end_due.eq(self._words.payload.last)]
        with m.If(self._unit.start):
            m.d.sync += self.begun.eq(1)
        self.waits = self._bench.before(self._words.valid & ~self._words.ready)


def _row(bits: Value, row: Value, rows: int) -> Value:
    """One row's part of the bits of all."""
    width = len(bits) // rows
    return functools.reduce(operator.or_, (Mux(row == index, bits.word_select(index, width), 0) for index in range(rows)))


def _membership(bench: Bench, inside: Inside, unit: SurvivorSearch, rows: int) -> list[Signal]:
    """The membership rows of the job's half: anything, and the same as long as the proof lasts."""
    write = unit.table_write
    bench.assume(~(write.valid & (write.kind == TableKind.MEMBERSHIP) & (write.half == unit.job.half)))
    members = []
    for row in range(rows):
        contents = bench.constant(len(unit.words.payload.second), f"members{row}")
        stored = inside.row("rows.table.storage", Mux(unit.job.half, row + rows, row))
        with bench.m.If(Initial()):
            bench.assume(stored == contents)
        bench.check(stored == contents)
        members.append(contents)
    return members


def _registers(bench: Bench, inside: Inside, walk: _Walk, members: list[Signal], rows: int) -> None:
    """What the unit's registers hold meanwhile, for induction."""
    channels, here, end_due = len(members[0]), walk.here, walk.end_due
    visited, shown = inside.register("visited"), inside.shown("rows.table.storage")
    valid, read_valid = inside.register("rows.valid"), inside.register("rows.read_valid")
    bench.check((inside.register("ending") == end_due) & (walk.begun | walk.between))
    bench.check((here.turn < walk.turns) & (here.slice < walk.slices) & (here.row == here.slice * walk.turns + here.turn))
    read = _Place(*(Mux(valid, after, now) for after, now in zip(_parts(walk.after(here)), _parts(here), strict=True)))
    asked = _Place(*(Mux(read_valid, after, now) for after, now in zip(_parts(walk.after(read)), _parts(read), strict=True)))
    with bench.m.If(walk.begun):
        bench.check(~end_due | ((here.row == 0) & (walk.came == 0)))
        bench.check(inside.register("rows.slice_index") == asked.slice)
        bench.check((inside.register("rows.turn") == asked.turn) & (inside.register("rows.address") == asked.row))
        row_is = inside.register("rows.members") == _row(Cat(members), here.row, rows)
        bench.check(~valid | (row_is & (inside.register("rows.last_turn") == (here.turn == walk.turns - 1))))
        row_is = shown == _row(Cat(members), read.row, rows)
        bench.check(~read_valid | (row_is & (inside.register("rows.read_last") == (read.turn == walk.turns - 1))))
    # Once begun, a word is offered until it is taken: of its rows before this one everything came, of later ones nothing.
    progress = bench.let((here.turn != 0) | (visited != 0), name="progress")
    earlier = Cat(Mux(row < here.row, walk.survive.word_select(row, channels), 0) for row in range(rows))
    with bench.m.If(walk.begun):
        bench.check(~progress | (walk.waits & ~end_due))
        bench.check(walk.came == Mux(progress, earlier | walk.bits(visited), 0))
    for row in range(rows):
        survive = walk.survive.word_select(row, channels)
        left = survive & ~visited
        with bench.m.If(walk.begun & progress & (here.row == row)):
            bench.check(((visited & ~survive) == 0) & ((left == 0) | ((visited & (left - 1)[:channels]) == visited)))


def _parts(place: _Place) -> tuple[Value, Value, Value]:
    return place.slice, place.turn, place.row


def pair_numbers(slice_channels: int) -> Bench:
    """What is found comes out once, in order, numbered by the members before it in its pixel; so do end marks, nothing else.

    Assumed: `start` comes when nothing is under way; `lowest` is a single bit where something is found.
    """
    bench = Bench()
    m = bench.m
    unit = PairNumbers(scan_configuration(slice_channels, 4))
    inside = bench.inside(unit)
    found, output = unit.visits.payload, unit.survivors.payload
    bench.free(unit.start)
    bench.offers(unit.visits)
    bench.takes(unit.survivors, Mux(output.end, 1, Cat(0, output.pair, output.taps)))
    bench.assume(~unit.visits.valid | ~found.found | ((found.lowest != 0) & ((found.lowest & (found.lowest - 1)) == 0)))

    # What is due, beside the unit's three stages; `members` counts those of the pixel before what comes in next.
    members = Signal.like(output.pair, name="members")
    due = [Signal(1 + len(output.as_value()), name=f"due{stage}") for stage in range(3)]
    pair = (members + popcount(found.members & (found.lowest - 1)))[: len(members)]
    taps = functools.reduce(operator.or_, (Value.cast(part) for part in found.taps))
    comes = unit.visits.valid & (found.found | found.end)
    advance = bench.let(unit.visits.ready, name="advance")
    with m.If(advance):
        m.d.sync += [due[0].eq(Cat(comes, found.end, pair, taps)), due[1].eq(due[0]), due[2].eq(due[1])]
        with m.If(unit.visits.valid):
            following = members + Mux(found.leaves, popcount(found.members), 0)
            m.d.sync += members.eq(Mux(found.end, 0, following))
    bench.assume(~unit.start | (~unit.visits.valid & ~Cat(stage[0] for stage in due).any() & (members == 0)))
    bench.check(unit.survivors.valid == due[2][0])
    bench.check(~unit.survivors.valid | (output.end == due[2][1]))
    bench.check(~unit.survivors.valid | output.end | (Cat(output.pair, output.taps) == due[2][2:]))
    bench.cover(unit.survivors.valid & ~output.end & (output.pair > slice_channels) & bench.before(unit.survivors.valid))

    # The unit's registers, for induction: how many members there were before each stage.
    seen = {name: inside.register("seen")[first:last] for name, first, last in _fields(found.shape())}
    counted = {name: inside.register(f"counted_{name}") for name in ("valid", "found", "leaves", "end")}
    base, before, count = (inside.register(name) for name in ("base", "before", "all_members"))
    seen_valid = inside.register("seen_valid")
    bits = len(before) // len(found.taps)
    below, there = (tree_sum([value.word_select(index, bits) for index in range(len(found.taps))]) for value in (before, count))
    second = Mux(counted["valid"], Mux(counted["end"], 0, base + Mux(counted["leaves"], there, 0)), base)[: len(base)]
    first = second + Mux(seen["leaves"], popcount(seen["members"]), 0)
    bench.check(members == Mux(seen_valid, Mux(seen["end"], 0, first), second)[: len(base)])
    number = (second + popcount(seen["members"] & (seen["lowest"] - 1)))[: len(base)]
    parts, tap_bits = range(len(found.taps)), len(found.taps[0])
    seen_taps = functools.reduce(operator.or_, (seen["taps"].word_select(index, tap_bits) for index in parts))
    bench.check(due[0][0] == (seen_valid & (seen["found"] | seen["end"])))
    bench.check(~due[0][0] | ((due[0][1] == seen["end"]) & (seen["end"] | (due[0][2:] == Cat(number, seen_taps)))))
    bench.check(due[1][0] == (counted["valid"] & (counted["found"] | counted["end"])))
    number = (base + below)[: len(base)]
    same = due[1][2:] == Cat(number, inside.register("taps"))
    bench.check(~due[1][0] | ((due[1][1] == counted["end"]) & (counted["end"] | same)))
    return bench


def _fields(layout: data.StructLayout) -> list[tuple[str, int, int]]:
    """Name, first bit and the bit behind the last one of each field."""
    return [(str(name), field.offset, field.offset + field.width) for name, field in layout]
