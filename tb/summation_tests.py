"""Summation: sums passed on, and added up over pixels and from job to job."""

from typing import Any

import cocotb
import numpy as np

from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS, signed_range
from tb.bench import Bench, configuration
from tb.output_jobs import random_output_job
from tb.streams import Number, Scoreboard, stalls

SUM = Number(OUTPUT_ACCUMULATOR_BITS, signed=True)
CHAINS = (0, 1, 0, 3, 2, 1, 0)
"""Jobs that add up together, 0 for a job that passes its sums on."""


@cocotb.test()
@cocotb.parametrize(stalls())
async def totals_of_chains(dut: Any, idle: str, back_pressure: str) -> None:
    """Chains of one to three jobs with the same channels and other pixels; totals reach the limits of 32 bits."""
    bench = Bench(dut, "summation", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    sums = bench.source("sums", SUM)
    totals = bench.sink("totals", SUM)
    await bench.reset()
    high = signed_range(OUTPUT_ACCUMULATOR_BITS)[1]
    for number, length in enumerate(CHAINS):
        channels = int(random.integers(1, config.depths.output + 1))
        running = np.zeros(channels, dtype=np.int64)
        for link in range(max(1, length)):
            chained = {"summed": length > 0, "sum_first": link == 0, "sum_last": link == length - 1}
            job = random_output_job(config, random, residual=False, channels=channels, **chained)
            share = max(1, length) * job.rows * job.width
            values = random.integers(-(high // share), high // share, (job.rows * job.width, channels), endpoint=True)
            values[:, 0] = (-1 if number % 2 else 1) * (high // share)
            running += values.sum(axis=0)
            expected = (running if link == length - 1 else running[:0]) if length else values.reshape(-1)
            board = bench.follow(Scoreboard(f"chain {number}, job {link}", expected.tolist()))
            totals.on_item = board.check
            dut.job.value = job.job()
            await bench.pulse("start")
            sums.send(*values.reshape(-1).tolist())
            await bench.until(lambda: dut.finished.value, "finished")
            await bench.until(lambda: board.complete, "all totals")  # noqa: B023 - awaited within the turn
            await bench.cycles(5)
            assert dut.finished.value, "finished fell before the next start"
            assert sums.pending == 0
