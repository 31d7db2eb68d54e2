"""A network on the buses, stopped by errors of memory, by the host and by resets at any time; each time a sound run follows.

Files and plan as of tb.network_axi_tests, for one image; the last run's activations are left in OUTPUT_FILE.
"""

import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hw.contract.axi import Response
from hw.contract.errors import ArchonError
from sw.program import read_hex, write_hex
from tb.axi_harness import AxiHarness
from tb.network_axi_tests import BASE, regions
from tb.network_tests import IMAGE_FILE, INPUT_FILE, OUTPUT_FILE, PLAN_VARIABLE, Plan

SPEED = (4, 30)
"""Latency and pause of the memory."""


class Stopped:
    """The network and ways to stop it."""

    def __init__(self, dut: Any, plan: Plan) -> None:
        self.harness, self.plan = AxiHarness(dut, BASE), plan
        self.random = random.Random(cocotb.RANDOM_SEED)
        words = plan.output_address + plan.output_words
        self._activations = read_hex(Path(INPUT_FILE.format(0)), words)[plan.output_address :]
        self.outputs: NDArray[np.uint64] | None = None

    async def start(self) -> None:
        """Reset, and configure."""
        self.harness.memory.speed(*SPEED)
        self.harness.fail()
        await self.harness.reset()
        await self.harness.driver.configure(regions(self.plan), self.plan.cycle_limit)

    async def lay(self) -> None:
        """The image's input, with what no layer may leave where it writes."""
        await self.harness.driver.load(self._activations, self.plan.output_address)

    async def run(self) -> tuple[int, int, int]:
        """A sound run gives what the first one gave; its cycles, words read and words written."""
        await self.lay()
        self.harness.fail()
        counters = (await self.harness.driver.run(self.plan.program_address)).counters
        self.harness.memory.check()
        outputs = await self.harness.driver.fetch(self.plan.output_address, self.plan.output_words)
        if self.outputs is None:
            self.outputs = outputs
            write_hex(Path(OUTPUT_FILE.format(0)), outputs)
        assert (outputs == self.outputs).all(), "a run after one that was stopped differs from the first one"
        return counters["cycles"], counters["words_read"], counters["words_written"]

    async def fails(self, code: str) -> None:
        """A run that ends with this error."""
        await self.lay()
        with pytest.raises(ArchonError, match=code):
            await self.harness.driver.run(self.plan.program_address)


@cocotb.test()
async def stopped_runs(dut: Any) -> None:
    """SLVERR and DECERR on any word read or written, an abort, and a reset, anywhere in the run."""
    network = Stopped(dut, TypeAdapter(Plan).validate_json(os.environ[PLAN_VARIABLE]))
    rng, harness = network.random, network.harness
    await network.start()
    await harness.driver.load(read_hex(Path(IMAGE_FILE), network.plan.output_address))
    cycles, words_read, words_written = await network.run()
    for response in (Response.SLVERR, Response.DECERR):
        await network.start()
        harness.fail(read=rng.randint(1, words_read), response=response)
        await network.fails("READ_RESPONSE")
        await network.run()
        await network.start()
        harness.fail(write=rng.randint(1, words_written), response=response)
        await network.fails("WRITE_RESPONSE")
        await network.run()
    for how in ("abort", "reset"):
        await network.lay()
        await harness.driver.start(network.plan.program_address)
        await ClockCycles(dut.clk, rng.randrange(cycles))
        if how == "reset":
            await network.start()
        else:
            await harness.driver.abort()
            with pytest.raises(ArchonError, match="ABORTED"):
                await harness.driver.finish()
        await network.run()
