"""Row store: random writes, and windows read at the same time."""

import os
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from hw.contract.config import KERNEL, ROW_BANKS
from tb.bench import Bench, configuration
from tb.level_buses import READ_FIELDS, LevelBanks, level_word

CYCLES = 4000
ADDRESSES = 6
"""Few, so that most reads meet words that were written."""


@cocotb.test()
@cocotb.parametrize(write_share=[0.1, 0.5, 1.0], read_share=[0.3, 1.0])
async def windows_hold_what_was_written(dut: Any, write_share: float, read_share: float) -> None:
    """Every window shows the words written before the read, rotated into tap order, and zeros outside the image."""
    bench = Bench(dut, f"row store {write_share} {read_share}")
    config, random, latency = configuration(), bench.random, int(os.environ["ARCHON_READ_LATENCY"])
    word_bits = level_word(config).width
    banks = LevelBanks(word_bits)
    dut.level_write__valid.value = 0
    dut.level_read__enable.value = 0
    await bench.reset()
    # The memories keep what an earlier test wrote: write all of what is read here.
    pending = [(row, column, address) for row in range(4) for column in range(4) for address in range(ADDRESSES)]
    answers: list[int | None] = [None] * latency
    compared = nonzero = 0
    edge = RisingEdge(dut.clk)
    for _ in range(CYCLES):
        first_writes = bool(pending)
        place = (random.randrange(ROW_BANKS), random.randrange(ROW_BANKS), random.randrange(ADDRESSES))
        if first_writes:
            place = pending.pop()
        word = random.getrandbits(word_bits)
        write = first_writes or random.random() < write_share
        read = {"row": random.randrange(ROW_BANKS), "column": random.randrange(ROW_BANKS)}
        read |= {"address": random.randrange(ADDRESSES), "neighbour": random.randrange(ADDRESSES)}
        read |= {"rows": random.getrandbits(KERNEL), "columns": random.getrandbits(KERNEL)}
        # A word is never read in the very cycle in which it is written: rows are read when they are done.
        collides = write and place[2] in {read["address"], read["neighbour"]}
        enable = not first_writes and not collides and random.random() < read_share
        dut.level_write__valid.value = write
        for name, value in zip(("row", "column", "address", "levels"), (*place, word), strict=True):
            dut[f"level_write__{name}"].value = value
        dut.level_read__enable.value = enable
        for name in READ_FIELDS:
            dut[f"level_read__{name}"].value = read[name]
        answers.append(banks.window(read) if enable else None)
        if write:
            banks.words[place] = word
        await edge
        expected = answers.pop(0)
        if expected is not None:
            taps = int(dut.level_read__taps.value)
            assert taps == expected, f"taps: expected {expected:#x}, got {taps:#x}"
            compared, nonzero = compared + 1, nonzero + (expected != 0)
    assert min(compared, nonzero) > CYCLES // 20, f"only {compared} windows compared, {nonzero} of them not empty"
