"""Reduction: sums over all lanes in order, or the lanes' own in turn, whatever the lanes' pace."""

from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from hw.contract.descriptor import JOB
from tb.bench import Bench, configuration
from tb.streams import Number, Scoreboard, stalls

PARTIAL = Number(numerics.OUTPUT_ACCUMULATOR_BITS, signed=True)
COUNT = 200
PIXELS = 12


@cocotb.test()
@cocotb.parametrize(stalls())
async def sums_over_lanes(dut: Any, idle: str, back_pressure: str) -> None:
    """Lanes with their own pauses; partial sums of any magnitude whose total fits 32 bits."""
    bench = Bench(dut, "reduction", idle, back_pressure)
    dut.start.value = 0
    dut.job.value = 0
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


@cocotb.test()
@cocotb.parametrize(stalls())
async def depthwise_lanes_take_turns(dut: Any, idle: str, back_pressure: str) -> None:
    """Jobs with other numbers of channels, also such that some lanes have one less, and between them jobs that add up."""
    bench = Bench(dut, "depthwise", idle, back_pressure)
    config = configuration()
    dut.start.value = 0
    random = np.random.default_rng(bench.random.getrandbits(64))
    sources = [bench.source(f"partials__{lane}", PARTIAL) for lane in range(config.lanes)]
    sink = bench.sink("sums", PARTIAL)
    await bench.reset()
    for number in range(10):
        depthwise, channels = number % 3 > 0, int(random.integers(1, config.depths.output + 1))
        outputs = -(-channels // config.lanes)
        partials = random.integers(-(2**27), 2**27, (PIXELS, outputs, config.lanes))
        sums = partials.reshape(PIXELS, -1)[:, :channels] if depthwise else partials.sum(axis=2)
        board = bench.follow(Scoreboard(f"job {number}", sums.reshape(-1).tolist()))
        sink.on_item = board.check
        fields = {"depthwise": int(depthwise), "input_channels": channels, "output_channels": outputs}
        dut.job.value = JOB.pack({**JOB.unpack(0), **fields})
        await bench.pulse("start")
        for lane, source in enumerate(sources):
            source.send(*partials[..., lane].reshape(-1).tolist())
        await bench.until(lambda: board.complete, "all sums")  # noqa: B023 - awaited within the turn
        await bench.until(lambda: not any(source.pending for source in sources), "partials without a channel", 5000)
        await bench.cycles(5)
