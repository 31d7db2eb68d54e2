"""The accelerator on its buses, with memory, a host, and the driver between them."""

import dataclasses
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteMaster
from numpy.typing import NDArray

from hw.contract.activity import ACTIVITY, CLUSTER_UNITS
from hw.contract.axi import WORD_BYTES
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import REPORT
from hw.contract.errors import ArchonError
from hw.contract.registers import REGISTER_BYTES
from sw.driver import Driver, Regions, Run
from sw.golden.network import run_block
from sw.golden.random_block import random_activation
from sw.program import MemoryImage, PlacedBlock, build_image
from tb.axi_bus import AxiMemory, register_port
from tb.bench import PERIOD_NS, Bench
from tb.block_cases import BlockCase
from tb.block_tests import placed_blocks
from tb.coverage import sample_block
from tb.programs import check_activity, check_counters, check_numbers, reports_of

WAIT_CYCLES = 100
"""Cycles after which the host looks at the registers without an interrupt."""


class SimulatedBus:
    """sw.driver's bus: registers through the design's port, memory behind its back."""

    def __init__(self, dut: Any, host: AxiLiteMaster, memory: AxiMemory) -> None:
        self._dut, self._host, self._memory = dut, host, memory

    async def read_register(self, offset: int) -> int:
        """The 32 bits at an offset."""
        answer = await self._host.read(offset, REGISTER_BYTES)
        if answer.resp:
            raise ArchonError(f"reading the register at {offset:#x} failed with {answer.resp.name}")
        return int.from_bytes(answer.data, "little")

    async def write_register(self, offset: int, value: int) -> None:
        """Write the 32 bits at an offset."""
        answer = await self._host.write(offset, value.to_bytes(REGISTER_BYTES, "little"))
        if answer.resp:
            raise ArchonError(f"writing the register at {offset:#x} failed with {answer.resp.name}")

    async def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._memory.bytes.read(address, size))

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of memory."""
        self._memory.bytes.write(address, data)

    async def wait(self) -> None:
        """Until the interrupt is high, or for a while."""
        if not self._dut.interrupt.value:
            await First(RisingEdge(self._dut.interrupt), Timer(WAIT_CYCLES * PERIOD_NS, "ns"))


class AxiAccelerator:
    """A case's program in memory at an address of its own, and everything to run and check it.

    `run` lays random activations, runs and compares every word of the image, every counter and report.
    """

    def __init__(self, dut: Any, case: BlockCase, config: ArchonConfig, held: str, depth: int = 8) -> None:
        self.dut, self.config = dut, config
        self.circumstances = dataclasses.replace(case, idle=held, back_pressure=held, latency=(1, 1))
        self.bench = Bench(dut, case.name, held, held)
        rng = self.bench.random
        self.memory = self.bench.follow(AxiMemory(dut, "memory", held, rng, depth=depth))
        self.driver = Driver(SimulatedBus(dut, register_port(dut, "registers", held, rng), self.memory))
        self.blocks: list[PlacedBlock] = placed_blocks(case, cocotb.RANDOM_SEED)
        self.image: MemoryImage = build_image(self.blocks, config)
        self.jobs = len(self.image.network_program.jobs)
        base = WORD_BYTES * rng.randrange(1 << 36)
        size = len(self.image.words) * WORD_BYTES
        reports = base + size + WORD_BYTES * rng.randrange(100)
        written = base + self.image.activation_address * WORD_BYTES
        activity = reports + self.jobs * REPORT.words * WORD_BYTES
        rows = self.jobs * len(CLUSTER_UNITS)
        behind = activity + rows * ACTIVITY.words * WORD_BYTES
        self.regions = Regions(base, (base, base + size), (written, behind), reports, self.jobs, activity, rows)
        self._activations = rng.getrandbits(30)

    async def start(self) -> None:
        """Reset, and configure."""
        await self.bench.reset()
        await self.configure(self.regions)

    async def configure(self, regions: Regions, stall_limit: int | None = None) -> None:
        """Set the windows in the registers, and those that the memory agent insists on."""
        self.memory.read_window, self.memory.write_window = regions.read, regions.write
        await self.driver.configure(regions, stall_limit)

    async def lay(self) -> NDArray[np.uint64]:
        """Program, tables and new activations into memory; what should lie there after the run."""
        self._activations += 1
        words, place = self.image.words.copy(), self.image.tensors["input"]
        tensor = random_activation(place.shape, self._activations)
        place.write(words, tensor)
        expected = words.copy()
        self.counts: dict[str, dict[str, int]] = {}
        for item in self.blocks:
            tensor, counts = run_block(item.block, item.spec, tensor)
            self.counts[item.name] = vars(counts)
            self.image.tensors[item.name].write(words, ~tensor)
            self.image.tensors[item.name].write(expected, tensor)
        await self.driver.load(words)
        return expected

    async def run(self) -> Run:
        """A whole run, compared with the golden model."""
        expected = await self.lay()
        result = await self.driver.run(self.image.network_program.address)
        await self.check(expected, result)
        for item in self.blocks:
            sample_block(item, self.image, self.config, self.circumstances)
        return result

    async def check(self, expected: NDArray[np.uint64], result: Run) -> None:
        """Memory, reports and counters are the golden model's."""
        got = await self.driver.fetch(0, len(expected))
        wrong = np.flatnonzero(got != expected)
        assert not len(wrong), (
            f"{len(wrong)} words differ, first {wrong[0]}: {expected[wrong[0]]:x} expected, got {got[wrong[0]]:x}"
        )
        check_numbers("reports", result.reports, self.image)
        check_activity("activity", result.reports, result.activity, self.image, self.config)
        for item in self.blocks:
            check_counters(item.name, self.counts[item.name], reports_of(item.name, result.reports, self.image))
        for name in ("multiplications", "additions", "steps"):
            total = sum(report[name] for report in result.reports)
            assert result.counters[name] == total, f"{name}: {total} in the reports, {result.counters[name]} counted"
        assert result.counters["jobs"] == self.jobs
        longest = max(report["end_cycle"] - report["start_cycle"] for report in result.reports)
        assert result.counters["cycles"] > longest

    async def fails(self, code: str) -> str:
        """A run that is stopped with an error of this name; its message."""
        with pytest.raises(ArchonError, match=code) as caught:
            await self.driver.run(self.image.network_program.address)
        return str(caught.value)
