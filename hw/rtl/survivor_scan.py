"""Finds, slice by slice, the pairs of one lane whose expanded channel survives."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import lowest_bit, popcount, tree_sum
from hw.rtl.interfaces import JOB, slice_word, survivor, table_write
from hw.rtl.table_memory import TableMemory

GROUP = 4
"""Channels whose taps are chosen, and whose members are counted, in one stage of a pipeline."""


def visit(config: ArchonConfig) -> data.StructLayout:
    """What the search found in a cycle, in one membership row.

    A survivor, where `found`: its bit of the row is `lowest`, and its m1 of every tap stands in `taps` of its group of
    channels, the other groups' being 0. `leaves`: the row is done. `end`: the pixel is, and all else means nothing.
    """
    channels = config.slice_channels
    groups = data.ArrayLayout(config.taps, -(-channels // GROUP))
    return data.StructLayout({"found": 1, "leaves": 1, "end": 1, "members": channels, "lowest": channels, "taps": groups})


class MembershipRows(wiring.Component):
    """The membership rows of a pixel in order, slice by slice and turn by turn, pixel after pixel.

    Members: `job`, `start`, from which on rows come; `table_write`; `take` goes on to the next row; `valid`, `members` the row,
    from a register, and whether it is its slice's `last_turn`.

    One row a cycle, the first one 3 cycles after `start`.
    """

    job: data.View
    start: Signal
    table_write: Any
    take: Signal
    valid: Signal
    members: Signal
    last_turn: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        members = {"job": In(JOB), "start": In(1), "table_write": In(table_write(config)), "take": In(1)}
        super().__init__(members | {"valid": Out(1), "members": Out(config.slice_channels), "last_turn": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = TableMemory(TableKind.MEMBERSHIP, self._config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        address = Signal(index_bits(self._config.depths.turned_slices))
        turn = Signal.like(self.job.turns)
        slice_index = Signal.like(self.job.slices)
        read_valid, read_last, shift, read, last_turn = (
            Signal(name=name) for name in ("read_valid", "read_last", "shift", "read", "ends")
        )
        m.d.comb += [
            shift.eq(~self.valid | self.take),
            read.eq(~read_valid | shift),
            last_turn.eq(turn == self.job.turns - 1),
            table.enable.eq(read),
            table.half.eq(self.job.half),
            table.address.eq(address),
        ]
        with m.If(shift):
            m.d.sync += [self.valid.eq(read_valid), self.members.eq(table.row.members), self.last_turn.eq(read_last)]
        with m.If(read):
            m.d.sync += [read_valid.eq(1), read_last.eq(last_turn), address.eq(address + 1), turn.eq(turn + 1)]
            with m.If(last_turn):
                m.d.sync += [turn.eq(0), slice_index.eq(slice_index + 1)]
                with m.If(slice_index == self.job.slices - 1):
                    m.d.sync += [slice_index.eq(0), address.eq(0)]
        with m.If(self.start):
            m.d.sync += Cat(self.valid, read_valid, address, turn, slice_index).eq(0)
        return m


class SurvivorSearch(wiring.Component):
    """Visits every pair with membership and m2 set, in order, and every membership row at least once.

    Parameters: `config`.

    Members: `job`, `start`, `table_write`, `words` as of SurvivorScan; `visits` out, see visit. A word is taken with the last
    visit of its last row.

    Throughput 1 visit a cycle. Latency: combinational from `words` to `visits`; stalls with `visits`.
    """

    job: data.View
    start: Signal
    table_write: Any
    words: stream.Interface
    visits: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "words": In(stream.Signature(slice_word(config))),
                "visits": Out(stream.Signature(visit(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channels = self._config.slice_channels
        m.submodules.rows = rows = MembershipRows(self._config)
        wiring.connect(m, wiring.flipped(self.table_write), rows.table_write)
        visited = Signal(channels)
        ending = Signal()
        candidates, lowest = Signal(channels), Signal(channels)
        active, leave = Signal(), Signal()
        word, found = self.words.payload, self.visits.payload
        m.d.comb += [
            rows.job.eq(self.job),
            rows.start.eq(self.start),
            rows.take.eq(leave),
            active.eq(self.words.valid & rows.valid & ~ending),
            candidates.eq(word.second & rows.members & ~visited),
            lowest.eq(lowest_bit(candidates)),
            found.found.eq(candidates != 0),
            found.leaves.eq((candidates & ~lowest) == 0),
            found.end.eq(ending),
            found.members.eq(rows.members),
            found.lowest.eq(lowest),
            self.visits.valid.eq(ending | active),
            leave.eq(active & found.leaves & self.visits.ready),
            self.words.ready.eq(leave & rows.last_turn),
        ]
        for first in range(0, channels, GROUP):
            group = range(first, min(first + GROUP, channels))
            m.d.comb += found.taps[first // GROUP].eq(
                _any(word.first[index] & lowest[index].replicate(self._config.taps) for index in group)
            )
        with m.If(leave):
            m.d.sync += [visited.eq(0), ending.eq(rows.last_turn & word.last)]
        with m.Elif(active & self.visits.ready):
            m.d.sync += visited.eq(visited | lowest)
        with m.If(ending & self.visits.ready):
            m.d.sync += ending.eq(0)
        with m.If(self.start):
            m.d.sync += [ending.eq(0), visited.eq(0)]
        return m


class PairNumbers(wiring.Component):
    """Numbers what the search found: a pair's number is the count of membership bits before it in the pixel.

    Parameters: `config`.

    Members: `start` begins anew; `visits` in; `survivors` out: for every visit with `found` one, and one for every end.

    Latency 3 cycles, throughput 1 visit a cycle; stalls as a whole with `survivors`.
    """

    start: Signal
    visits: stream.Interface
    survivors: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        members = {"start": In(1), "visits": In(stream.Signature(visit(config)))}
        super().__init__(members | {"survivors": Out(stream.Signature(survivor(config)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        output, advance = self.survivors.payload, Signal()
        m.d.comb += [advance.eq(~self.survivors.valid | self.survivors.ready), self.visits.ready.eq(advance)]
        seen: Any = Signal(visit(self._config))
        seen_valid, counted_valid, counted_end, counted_leaves, counted_found = (
            Signal(name=name) for name in ("seen_valid", "counted_valid", "counted_end", "counted_leaves", "counted_found")
        )
        groups = range(0, self._config.slice_channels, GROUP)
        counts = data.ArrayLayout(range(GROUP + 1), len(groups))
        before = Signal(counts)
        all_members = Signal(counts)
        taps = Signal(self._config.taps)
        base = Signal.like(output.pair)
        with m.If(advance):
            # 1: as found. 2: counts of each group, below the survivor and in all. 3: their sums.
            m.d.sync += [seen_valid.eq(self.visits.valid), seen.eq(self.visits.payload)]
            m.d.sync += [counted_valid.eq(seen_valid), counted_end.eq(seen.end), counted_leaves.eq(seen.leaves)]
            m.d.sync += [counted_found.eq(seen.found), taps.eq(_any(seen.taps[index] for index in range(len(groups))))]
            below = seen.members & (seen.lowest - 1)
            for index, first in enumerate(groups):
                m.d.sync += before[index].eq(popcount(below[first : first + GROUP]))
                m.d.sync += all_members[index].eq(popcount(seen.members[first : first + GROUP]))
            m.d.sync += [
                self.survivors.valid.eq(counted_valid & (counted_found | counted_end)),
                output.end.eq(counted_end),
                output.taps.eq(taps),
                output.pair.eq(tree_sum([*before, base])),
            ]
            with m.If(counted_valid & counted_end):
                m.d.sync += base.eq(0)
            with m.Elif(counted_valid & counted_leaves):
                m.d.sync += base.eq(tree_sum([*all_members, base]))
        with m.If(self.start):
            m.d.sync += Cat(seen_valid, counted_valid, self.survivors.valid, base).eq(0)
        return m


class SurvivorScan(wiring.Component):
    """Turns the predicted masks of a pixel into the numbers of the lane's surviving pairs.

    A lane's pairs are numbered in scan order (slice, turn, channel of the slice), so a pair's number is the count of
    membership bits before it.

    Parameters: `config`.

    Members: `job`, `start`, between pixels and when all survivors were taken; `table_write` fills the membership table; `words`
    slice words in; `survivors` out: every pair with membership and m2 set exactly once, in order, then one payload with `end`
    set for each pixel; `works` when the search finds something or looks at a row in vain, `blocked` while it waits.

    Throughput: one survivor, one membership row without survivors, or one end mark a cycle. Latency 3 cycles; stalls with
    `survivors`.
    """

    job: data.View
    start: Signal
    table_write: Any
    words: stream.Interface
    survivors: stream.Interface
    works: Signal
    blocked: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "words": In(stream.Signature(slice_word(config))),
                "survivors": Out(stream.Signature(survivor(config))),
                "works": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.search = search = SurvivorSearch(self._config)
        m.submodules.numbers = numbers = PairNumbers(self._config)
        wiring.connect(m, wiring.flipped(self.table_write), search.table_write)
        wiring.connect(m, wiring.flipped(self.words), search.words)
        wiring.connect(m, search.visits, numbers.visits)
        wiring.connect(m, numbers.survivors, wiring.flipped(self.survivors))
        m.d.comb += [search.job.eq(self.job), search.start.eq(self.start), numbers.start.eq(self.start)]
        visits = search.visits
        m.d.comb += [self.works.eq(visits.valid & visits.ready), self.blocked.eq(visits.valid & ~visits.ready)]
        return m


def _any(values: Any) -> Value:
    """OR of words of which at most one is not 0."""
    first, *others = (Value.cast(value) for value in values)
    for value in others:
        first = first | value
    return first
