"""Reduction: sums over all lanes in order, whatever the lanes' pace."""

from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from tb.bench import Bench, configuration
from tb.streams import PATTERNS, Number, Scoreboard

PARTIAL = Number(numerics.OUTPUT_ACCUMULATOR_BITS, signed=True)
COUNT = 200


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), back_pressure=list(PATTERNS))
async def sums_over_lanes(dut: Any, idle: str, back_pressure: str) -> None:
    """Lanes with their own pauses; partial sums of any magnitude whose total fits 32 bits."""
    bench = Bench(dut, "reduction", idle, back_pressure)
    lanes = configuration().lanes
    random = np.random.default_rng(bench.random.getrandbits(64))
    sources = [bench.source(f"partials__{lane}", PARTIAL) for lane in range(lanes)]
    low, high = numerics.signed_range(PARTIAL.width)
    partials = random.integers(low // lanes, high // lanes, (COUNT, lanes), endpoint=True)
    partials[:2] = [[low // lanes], [high // lanes]]
    board = bench.follow(Scoreboard("sums", partials.sum(axis=1).tolist()))
    bench.sink("sums", PARTIAL, board.check)
    await bench.reset()
    for source, values in zip(sources, partials.T.tolist(), strict=True):
        source.send(*values)
    await bench.until(lambda: board.complete, "all sums")
    await bench.cycles(20)
