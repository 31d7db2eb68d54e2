"""Requantizer: every output's bytes and address against the contract's arithmetic, for jobs of every kind."""

from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from hw.contract.descriptor import OUTPUT_WRITE
from hw.contract.numerics import ACTIVATION_BITS, OUTPUT_ACCUMULATOR_BITS
from hw.contract.tables import TableKind
from tb.bench import Bench, configuration
from tb.buses import TableWriter, pack_table
from tb.output_jobs import OutputJob, random_output_job, random_sums
from tb.streams import Number, Scoreboard, pattern, stalls

JOBS: tuple[dict[str, bool], ...] = (
    {"residual": False},
    {"residual": True},
    {"residual": True, "relu": True},
    {"residual": False, "relu": True},
    {"residual": False, "raw": True},
    {"residual": False, "depthwise": True},
    {"residual": False, "relu": True, "summed": True, "sum_first": True},
    {"residual": False, "relu": True, "summed": True, "sum_last": True},
    {"residual": False, "raw": True, "summed": True, "sum_last": True},
    {"residual": True},
)


@cocotb.test()
@cocotb.parametrize(stalls())
async def every_output_is_written(dut: Any, idle: str, back_pressure: str) -> None:
    """Jobs of other sizes and tables in a row; `finished` not before the last write was accepted."""
    bench = Bench(dut, "requantizer", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    sums = bench.source("sums", Number(OUTPUT_ACCUMULATOR_BITS, signed=True))
    residual = bench.source("residual", Number(ACTIVATION_BITS, signed=True))
    writes = bench.sink("write", OUTPUT_WRITE, meaning=written_byte)
    writer = TableWriter(dut, idle=pattern("rarely", bench.random))
    await bench.reset()
    last: int | None = None
    for number, kind in enumerate(JOBS):
        job = random_output_job(config, random, **kind)
        values = random_sums(job, random)
        residuals = random.integers(-128, 128, values.shape)
        writer.half = job.half
        await writer.write(TableKind.REQUANTIZE, pack_table(TableKind.REQUANTIZE, config, job.table))
        dut.job.value = job.job()
        board = bench.follow(Scoreboard(f"job {number}", expected_writes(job, values, residuals)))

        def check(item: Any, board: Scoreboard = board) -> None:
            nonlocal last
            assert not dut.finished.value, f"finished after {board.count} of {len(board.expected)} writes"
            assert last is None or item["follows"] == (item["address"] == last), f"follows a write to {last}: {item}"
            last = item["address"]
            board.check({name: value for name, value in item.items() if name != "follows"})

        writes.on_item = check
        await bench.pulse("start")
        sums.send(*(int(value) for value in values.reshape(-1)))
        if job.residual:
            residual.send(*(int(value) for value in residuals.reshape(-1)))
        await bench.until(lambda: dut.finished.value, "finished")
        board.finish()
        await bench.cycles(10)
        assert dut.finished.value, "finished fell before the next start"
        assert sums.pending == residual.pending == 0


def expected_writes(job: OutputJob, sums: Any, residuals: Any) -> list[dict[str, int]]:
    """Address, first byte, number of bytes and value of every output."""
    table = job.table
    outputs = sums + table["bias"]
    if not job.raw:
        outputs = numerics.requantize(outputs, table["multiplier"], table["shift"])
    if job.relu:
        outputs = np.maximum(outputs, 0)
    if job.residual:
        outputs = numerics.add_residual(outputs, residuals)
    places = job.places(job.output_address)
    return [
        {"address": address, "byte": byte, "bytes": 4 if job.raw else 1, "value": int(output)}
        for (_, address, byte), output in zip(places, outputs.reshape(-1), strict=True)
    ]


def written_byte(write: dict[str, int]) -> dict[str, int]:
    """The bytes of a write that are strobed: one, or four neighbouring ones."""
    count = write["strobe"].bit_count()
    byte = write["strobe"].bit_length() - count
    assert count in {1, 4}, f"a write of one or four bytes expected, got strobe {write['strobe']:08b}"
    assert write["strobe"] == ((1 << count) - 1) << byte, f"neighbouring bytes expected, got strobe {write['strobe']:08b}"
    value = Number(8 * count, signed=True).unpack(write["data"] >> (8 * byte) & ((1 << 8 * count) - 1))
    return {"address": write["address"], "byte": byte, "bytes": count, "value": value, "follows": write["follows"]}
