"""Finds, slice by slice, the pairs of one lane whose expanded channel survives."""

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import lowest_bit, popcount
from hw.rtl.interfaces import JOB, slice_word, survivor, table_write
from hw.rtl.table_memory import TableMemory


class SurvivorScan(wiring.Component):
    """Turns the predicted masks of a pixel into the numbers of the lane's surviving pairs.

    A lane's pairs are numbered in scan order (slice, turn, channel of the slice), so a pair's number is the count of
    membership bits before it: a running base plus a population count.

    Parameters: `config`.

    Members: `job`, `start`; `table_write` fills the membership table; `words` slice words in; `survivors` out: every pair
    with membership and m2 set exactly once, in order, then one payload with `end` set for each pixel.

    Throughput: one survivor, one membership row without survivors, or one end mark a cycle. Latency: combinational from
    `words` to `survivors`; stalls with `survivors`.
    """

    job: data.View
    start: Signal
    table_write: Any
    words: stream.Interface
    survivors: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "words": In(stream.Signature(slice_word(config))),
                "survivors": Out(stream.Signature(survivor(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        channels = config.slice_channels
        m.submodules.membership = membership = TableMemory(TableKind.MEMBERSHIP, config)
        wiring.connect(m, wiring.flipped(self.table_write), membership.write)

        address = Signal(index_bits(config.depths.turned_slices))
        address_next = Signal.like(address)
        turn = Signal.like(self.job.turns)
        base = Signal(index_bits(config.depths.pair))
        visited = Signal(channels)
        candidates, lowest = Signal(channels), Signal(channels)
        ending = Signal()
        found, exhausted, leave, last_turn = Signal(), Signal(), Signal(), Signal()

        word, members = self.words.payload, membership.row.members
        taps = Array(word.first[index] for index in range(channels))
        chosen = Signal(range(channels))
        m.d.comb += [
            membership.enable.eq(1),
            membership.half.eq(self.job.half),
            membership.address.eq(address_next),
            candidates.eq(word.second & members & ~visited),
            lowest.eq(lowest_bit(candidates)),
            found.eq(candidates != 0),
            exhausted.eq((candidates & ~lowest) == 0),
            last_turn.eq(turn == self.job.turns - 1),
            self.survivors.payload.end.eq(ending),
            self.survivors.payload.pair.eq(base + popcount(members & (lowest - 1))),
            self.survivors.payload.taps.eq(taps[chosen]),
            self.survivors.valid.eq(ending | (self.words.valid & found)),
            leave.eq(~ending & self.words.valid & exhausted & (~found | self.survivors.ready)),
            self.words.ready.eq(leave & last_turn),
            address_next.eq(address),
        ]
        for index in range(channels):
            with m.If(lowest[index]):
                m.d.comb += chosen.eq(index)

        m.d.sync += address.eq(address_next)
        with m.If(leave):
            m.d.comb += address_next.eq(address + 1)
            m.d.sync += [
                visited.eq(0),
                base.eq(base + popcount(members)),
                turn.eq(Mux(last_turn, 0, turn + 1)),
                ending.eq(last_turn & word.last),
            ]
        with m.Elif(self.survivors.valid & self.survivors.ready & ~ending):
            m.d.sync += visited.eq(visited | lowest)
        with m.If(ending & self.survivors.ready):
            m.d.comb += address_next.eq(0)
            m.d.sync += [ending.eq(0), base.eq(0)]
        with m.If(self.start):
            m.d.comb += address_next.eq(0)
            m.d.sync += [ending.eq(0), base.eq(0), turn.eq(0), visited.eq(0)]
        return m
