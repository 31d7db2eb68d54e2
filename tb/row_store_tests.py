"""Row store: random writes, and a window's rows read at the same time."""

import os
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from tb.bench import Bench, configuration
from tb.level_buses import READ_FIELDS, LevelBanks

CYCLES = 4000
ADDRESSES = 6
"""Few, so that most reads meet words that were written."""


@cocotb.test()
@cocotb.parametrize(write_share=[0.1, 0.5, 1.0], read_share=[0.3, 1.0])
async def rows_hold_what_was_written(dut: Any, write_share: float, read_share: float) -> None:
    """Every read shows the words written before it, from above to below, and zeros outside the image."""
    bench = Bench(dut, f"row store {write_share} {read_share}")
    config, random, latency = configuration(), bench.random, int(os.environ["ARCHON_READ_LATENCY"])
    banks, rows = LevelBanks(config), config.row_banks
    dut.level_write__valid.value = 0
    dut.level_read__enable.value = 0
    await bench.reset()
    # The memories keep what an earlier test wrote: write all of what is read here.
    pending = [(row, address) for row in range(rows) for address in range(ADDRESSES)]
    answers: list[int | None] = [None] * latency
    compared = nonzero = 0
    edge = RisingEdge(dut.clk)
    for _ in range(CYCLES):
        first_writes = bool(pending)
        place = pending.pop() if first_writes else (random.randrange(rows), random.randrange(ADDRESSES))
        word = random.getrandbits(banks.word_bits)
        write = first_writes or random.random() < write_share
        read = {"row": random.randrange(rows), "address": random.randrange(ADDRESSES)}
        read["inside"] = random.getrandbits(config.kernel)
        if write and read["address"] == place[1]:  # the word that is written is not read
            read["inside"] &= ~(1 << (place[0] - read["row"] + config.kernel // 2) % rows)
        enable = not first_writes and random.random() < read_share
        dut.level_write__valid.value = write
        for name, value in zip(("row", "address", "levels"), (*place, word), strict=True):
            dut[f"level_write__{name}"].value = value
        dut.level_read__enable.value = enable
        for name in READ_FIELDS:
            dut[f"level_read__{name}"].value = read[name]
        answers.append(banks.read(read) if enable else None)
        if write:
            banks.words[place] = word
        await edge
        expected = answers.pop(0)
        if expected is not None:
            levels = int(dut.level_read__levels.value)
            assert levels == expected, f"levels: expected {expected:#x}, got {levels:#x}"
            compared, nonzero = compared + 1, nonzero + (expected != 0)
    assert min(compared, nonzero) > CYCLES // 20, f"only {compared} reads compared, {nonzero} of them not empty"
