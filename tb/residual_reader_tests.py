"""Residual reader: the activation of every output's place, in order, each word once, no more requests than have room."""

from itertools import pairwise
from typing import Any

import cocotb
import numpy as np

from hw.contract.numerics import ACTIVATION_BITS
from hw.contract.tables import TableKind
from tb.bench import Bench, configuration
from tb.buses import TableWriter, pack_table
from tb.output_jobs import WORDS, random_output_job
from tb.streams import Number, Scoreboard, pattern, stalls

JOBS = 5


@cocotb.test()
@cocotb.parametrize(stalls(), latency=[(0, 0), (1, 30)])
async def every_residual_in_order(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Jobs with and without residual in a row; the ones without read nothing."""
    bench = Bench(dut, f"residual {latency}", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    asked = 0

    def count(_address: int, length: int) -> None:
        nonlocal asked
        assert length == 1
        asked += 1
        # An activation that is taken in this very cycle may not be in `items` yet.
        due = asked - len(activations.items)
        assert due <= config.queues.residual + 1, f"{due} activations asked for, room for {config.queues.residual}"

    memory = bench.serve(random.integers(0, 1 << 64, WORDS, dtype=np.uint64), latency, on_read=count)
    activations = bench.sink("activations", Number(ACTIVATION_BITS, signed=True))
    writer = TableWriter(dut, idle=pattern("rarely", bench.random))
    await bench.reset()
    stored = memory.words.view(np.int8).reshape(WORDS, 8)
    for number in range(JOBS):
        job = random_output_job(config, random, residual=number != 2)
        writer.half = job.half
        await writer.write(TableKind.REQUANTIZE, pack_table(TableKind.REQUANTIZE, config, job.table))
        dut.job.value = job.job()
        places = list(job.places(job.residual_address)) if job.residual else []
        words = 1 + sum(before != after for before, after in pairwise(address for _, address, _ in places)) if places else 0
        board = bench.follow(Scoreboard(f"job {number}", [int(stored[address, byte]) for _, address, byte in places]))
        activations.on_item = board.check
        requests = memory.requests
        await bench.pulse("start")
        await bench.until(lambda: board.complete, "all residuals")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)
        assert memory.requests - requests == words
