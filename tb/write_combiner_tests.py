"""Write combiner: bytes of a word leave together, in the order in which they came; none waits for longer than it has to."""

import random
from itertools import chain, pairwise
from typing import Any

import cocotb

from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.descriptor import OUTPUT_WRITE, WRITE
from hw.contract.layout import WORD_BITS
from tb.bench import Bench
from tb.streams import Scoreboard, stalls

BATCHES = 12
PLACES = 3
"""Words that random writes go to: few, so that many neighbours go to the same one."""


@cocotb.test()
@cocotb.parametrize(stalls())
async def neighbours_leave_together(dut: Any, idle: str, back_pressure: str) -> None:
    """Batches of writes with a flush behind each: every run of writes that fits in a word is one."""
    bench = Bench(dut, "runs", idle, back_pressure)
    dut.flush.value = 0
    source = bench.source("input", OUTPUT_WRITE)
    sink = bench.sink("output", WRITE, meaning=strobed)
    await bench.reset()
    assert dut.empty.value, "not empty after reset"
    last: list[dict[str, int]] = []
    for number in range(BATCHES):
        writes = random_writes(bench.random)
        runs = [strobed(run) for run in combined(writes)]
        follow(last + writes)
        last = writes[-1:]
        board = bench.follow(Scoreboard(f"batch {number}", runs))
        sink.on_item = board.check
        source.send(*writes)
        await bench.until(lambda: not source.pending, "the end of a batch")
        await bench.until(lambda: board.count >= len(runs) - 1, "all words but the last")  # noqa: B023
        await bench.cycles(20)
        incomplete = None in runs[-1]["bytes"]
        assert bool(dut.empty.value) == board.complete == (not incomplete), f"batch {number}: {board.describe()}"
        dut.flush.value = 1
        await bench.until(lambda: board.complete, "the last word")  # noqa: B023 - awaited within the turn
        await bench.until(lambda: dut.empty.value, "empty", 5)
        dut.flush.value = 0
        await bench.cycles(2)


@cocotb.test()
@cocotb.parametrize(stalls())
async def flushed_at_any_time(dut: Any, idle: str, back_pressure: str) -> None:
    """While `flush` comes and goes every byte leaves once, in order."""
    bench = Bench(dut, "flushed", idle, back_pressure)
    dut.flush.value = 0
    source = bench.source("input", OUTPUT_WRITE)
    writes = [write for _ in range(BATCHES) for write in random_writes(bench.random)]
    follow(writes)
    board = bench.follow(Scoreboard("bytes", chain.from_iterable(map(bytes_of, writes))))

    def check(write: dict[str, int]) -> None:
        for byte in sorted_as(board, bytes_of(write)):
            board.check(byte)

    bench.sink("output", WRITE, check)
    await bench.reset()
    source.send(*writes)
    while source.pending:
        dut.flush.value = int(bench.random.random() < 0.1)
        await bench.cycles(1)
    dut.flush.value = 1
    await bench.until(lambda: board.complete, "all bytes")
    await bench.until(lambda: dut.empty.value, "empty", 5)


def random_writes(generator: random.Random) -> list[dict[str, int]]:
    """Some 20 runs: one byte or four at a time, up and down a word or anywhere in some words, some of them twice."""
    writes = []
    for _ in range(20):
        address, kind = generator.randrange(PLACES), generator.choice(["up", "down", "fours", "anywhere"])
        length = generator.randrange(1, CHANNELS_PER_WORD + 1)
        order = {
            "up": [1 << byte for byte in range(length)],
            "down": [128 >> byte for byte in range(length)],
            "fours": [15, 240][: 1 + length % 2],
            "anywhere": [1 << generator.randrange(CHANNELS_PER_WORD) for _ in range(length)],
        }[kind]
        writes += [{"address": address, "data": generator.getrandbits(WORD_BITS), "strobe": strobe} for strobe in order]
    return writes


def follow(writes: list[dict[str, int]]) -> None:
    """Say of each write whether it is to the word of the one before; of the first one that means nothing."""
    writes[0].setdefault("follows", 1)
    for before, write in pairwise(writes):
        write["follows"] = int(write["address"] == before["address"])


def bytes_of(write: dict[str, int]) -> list[dict[str, int]]:
    """The bytes that a write changes."""
    chosen = [byte for byte in range(CHANNELS_PER_WORD) if write["strobe"] >> byte & 1]
    return [{"address": write["address"], "byte": byte, "value": write["data"] >> 8 * byte & 255} for byte in chosen]


def sorted_as(board: Scoreboard, found: list[dict[str, int]]) -> list[dict[str, int]]:
    """The bytes of one write in the order of those that are due: within a write they have none."""
    due = board.expected[board.count : board.count + len(found)]
    places = [byte["byte"] for byte in due]
    assert sorted(places) == sorted(byte["byte"] for byte in found), f"bytes: expected {due}, got {found}"
    return sorted(found, key=lambda byte: places.index(byte["byte"]))


def combined(writes: list[dict[str, int]]) -> list[dict[str, int]]:
    """The writes with each run of them that changes different bytes of one word as one."""
    runs: list[dict[str, int]] = []
    for write in writes:
        mask = sum(255 << 8 * byte["byte"] for byte in bytes_of(write))
        if runs and runs[-1]["address"] == write["address"] and not runs[-1]["strobe"] & write["strobe"]:
            last = runs[-1]
            last["strobe"] |= write["strobe"]
            last["data"] = last["data"] & ~mask | write["data"] & mask
        else:
            runs.append(dict(write))
    return runs


def strobed(write: dict[str, int]) -> dict[str, Any]:
    """Address and bytes of a write, None for each that it does not change."""
    values = {byte["byte"]: byte["value"] for byte in bytes_of(write)}
    return {"address": write["address"], "bytes": [values.get(byte) for byte in range(CHANNELS_PER_WORD)]}
