"""Survivor scan: every surviving pair once, in order, for random membership tables and masks."""

from typing import Any

import cocotb
import numpy as np

from hw.contract.descriptor import JOB
from hw.contract.tables import TableKind, table_layout
from tb.bench import Bench, configuration
from tb.buses import TableWriter
from tb.layouts import slice_word, survivor
from tb.streams import Scoreboard, pattern, stalls

PIXELS = 12
SHARES = ((0.0, 0.5), (0.3, 0.4), (0.5, 0.0), (0.7, 1.0), (1.0, 1.0))
"""(share of members, share of survivors) of the jobs run one after the other."""


@cocotb.test()
@cocotb.parametrize(stalls())
async def every_survivor_once_in_order(dut: Any, idle: str, back_pressure: str) -> None:
    """Jobs in a row with other masks, shares and sizes; rows of another table change nothing."""
    bench = Bench(dut, "scan", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    words = bench.source("words", slice_word(config))
    survivors = bench.sink("survivors", survivor(config), meaning=meaning)
    writer = TableWriter(dut, idle=pattern("rarely", bench.random))
    await bench.reset()
    for member_share, survivor_share in SHARES:
        slices, turns = int(random.integers(1, 6)), int(random.integers(1, 4))
        members = random.random((slices, turns, config.slice_channels)) < member_share
        members[np.cumsum(members).reshape(members.shape) > config.depths.pair] = False
        second = random.random((PIXELS, slices, config.slice_channels)) < survivor_share
        first = random.integers(0, 1 << config.taps, second.shape)
        bits = (members << np.arange(config.slice_channels)).sum(axis=2).reshape(-1)
        rows = table_layout(TableKind.MEMBERSHIP, config).pack_rows({"members": bits})
        other = table_layout(TableKind.MEMBERSHIP, config).pack_rows({"members": bits ^ 1})
        writer.half = int(random.integers(2))
        await writer.write(TableKind.MEMBERSHIP, rows)
        await writer.write(TableKind.DEPTHWISE, other)
        job = {"turns": turns, "slices": slices, "half": writer.half}
        dut.job.value = JOB.pack({item.name: 0 for item in JOB.fields} | job)
        await bench.pulse("start")
        board = bench.follow(Scoreboard("survivors", expected_survivors(members, second, first)))
        survivors.on_item = board.check
        for pixel in range(PIXELS):
            for index in range(slices):
                word = {"second": int((second[pixel, index] << np.arange(config.slice_channels)).sum())}
                words.send({**word, "first": first[pixel, index], "last": index == slices - 1})
        await bench.until(lambda: board.complete, "all survivors")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)
        assert words.pending == 0


def expected_survivors(members: Any, second: Any, first: Any) -> list[dict[str, int]]:
    """Pairs numbered by slice, turn and channel; the ones with m2 set, and an end mark for each pixel."""
    pairs = np.argwhere(members)
    expected = []
    for pixel in range(len(second)):
        for number, (index, _, channel) in enumerate(pairs):
            if second[pixel, index, channel]:
                expected.append({"end": 0, "pair": number, "taps": int(first[pixel, index, channel])})
        expected.append({"end": 1})
    return expected


def meaning(item: dict[str, int]) -> dict[str, int]:
    """The other fields of an end mark hold anything."""
    return {"end": 1} if item["end"] else item
