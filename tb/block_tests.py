"""The whole accelerator on random blocks: every byte in memory and every counter against the golden model."""

import dataclasses
import os
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.descriptor import COMMAND, REPORT
from sw.bundle.network import FusedBlock, Requantization
from sw.golden.network import run_block, run_block_layerwise
from sw.golden.random_block import random_activation, random_block
from sw.program import MemoryImage, PlacedBlock, build_image
from tb.bench import Bench, configuration
from tb.block_cases import DIRECTED, BlockCase, random_case
from tb.memory import StreamMemory
from tb.streams import StreamSink, StreamSource

CYCLE_LIMIT = 400_000


class Accelerator:
    """The design with its agents; memory is exchanged for every case."""

    def __init__(self, dut: Any, case: BlockCase, words: NDArray[np.uint64]) -> None:
        self.dut, self.words = dut, words
        dut.writes_pending.value = 0  # memory has taken a write when it is handed over
        self.bench = Bench(dut, case.name, back_pressure=case.back_pressure)
        self.command: StreamSource = self.bench.source("command", COMMAND)
        self.reports: StreamSink = self.bench.sink("report", REPORT)
        self.memory = self.bench.serve(words, case.latency, write="write", idle=case.idle)

    async def run(self, address: int, jobs: int) -> list[dict[str, int]]:
        """Run the program at a word address; the reports of its jobs."""
        self.reports.items.clear()
        self.command.send({"program_address": address})
        await self.bench.until(lambda: self.dut.busy.value, "busy", 1000)
        await self.bench.until(lambda: len(self.reports.items) == jobs, f"reports of {jobs} jobs", CYCLE_LIMIT)
        await self.bench.until(lambda: not self.dut.busy.value, "the end of the program", 1000)
        assert not self.dut.error.value, "the accelerator reports an error"
        return list(self.reports.items)


def cases() -> list[BlockCase]:
    """The directed cases and as many random ones as the test asked for."""
    first, count = (int(part) for part in os.environ.get("ARCHON_RANDOM_CASES", "0,0").split(","))
    return [*DIRECTED, *(random_case(seed) for seed in range(first, first + count))]


@cocotb.test()
@cocotb.parametrize(index=range(len(cases())))
async def outputs_and_counters(dut: Any, index: int) -> None:
    """One program, run twice: the second time with other activations in the same memory."""
    case, config = cases()[index], configuration()
    blocks = placed_blocks(case, 1000 * index + cocotb.RANDOM_SEED)
    image = build_image(blocks, config)
    accelerator = Accelerator(dut, case, image.words.copy())
    place = image.tensors["input"]
    await accelerator.bench.reset()
    for attempt in range(2):
        where = f"{case.name}, run {attempt + 1}"
        tensor = random_activation(place.shape, 1000 * index + attempt, extreme=case.extreme)
        place.write(accelerator.memory.words, tensor)
        expect_outputs(accelerator.memory, image, blocks)
        reports = await accelerator.run(image.network_program.address, len(image.network_program.jobs))
        check_numbers(where, reports, image)
        for item in blocks:
            expected, counts = run_block(item.block, item.spec, tensor)
            assert (expected == run_block_layerwise(item.block, item.spec, tensor)).all(), f"{where}: golden models differ"
            got = image.tensors[item.name].read(accelerator.memory.words)
            check_tensor(f"{where}, {item.name}", expected, got)
            check_counters(f"{where}, {item.name}", vars(counts), reports_of(item, reports, image))
            tensor = expected
        check_writes(where, accelerator.memory, image, blocks)


@cocotb.test()
@cocotb.parametrize((("counter", "count"), [("requests", 1), ("words_read", 50), ("words_written", 9)]))
async def reset_in_the_middle(dut: Any, counter: str, count: int) -> None:
    """A program that a reset cuts short while it starts, loads or computes leaves no trace in the next one."""
    case = next(case for case in DIRECTED if case.name == "plain")
    blocks = placed_blocks(case, count)
    image = build_image(blocks, configuration())
    accelerator = Accelerator(dut, case, image.words.copy())
    tensor = random_activation(image.tensors["input"].shape, count)
    image.tensors["input"].write(accelerator.memory.words, tensor)
    await accelerator.bench.reset()
    accelerator.command.send({"program_address": image.network_program.address})
    await accelerator.bench.until(lambda: getattr(accelerator.memory, counter) >= count, counter)
    assert dut.busy.value, "the program is to be cut short, but it has ended"
    await accelerator.bench.reset()
    assert not dut.busy.value, "busy after reset"
    expect_outputs(accelerator.memory, image, blocks)
    await accelerator.run(image.network_program.address, len(image.network_program.jobs))
    expected, _ = run_block(blocks[0].block, blocks[0].spec, tensor)
    check_tensor(f"after a reset at {count} {counter}", expected, image.tensors["block 1"].read(accelerator.memory.words))


def placed_blocks(case: BlockCase, seed: int) -> list[PlacedBlock]:
    """Random weights for the blocks of a case."""
    blocks, height, width = [], case.height, case.width
    for number, spec in enumerate(case.specs(), start=1):
        block = with_ties(random_block(spec, seed + number, case.sparsity, case.masks, extreme=case.extreme))
        blocks.append(PlacedBlock(f"block {number}", block, spec, height, width))
        height, width = -(-height // spec.stride), -(-width // spec.stride)
    return blocks


def with_ties(block: FusedBlock) -> FusedBlock:
    """Every other output channel is scaled by a power of two alone, and lies between two activations where only b3 is left."""
    parts, power = block.requantization, numerics.MULTIPLIER_BITS - 1
    half = 1 << np.maximum(parts.shift.astype(np.int64) - power - 1, 0)
    even = np.arange(len(half)) % 2 == 0
    multiplier = np.where(even, 1 << power, parts.multiplier).astype(np.int32)
    bias = np.where(even, (parts.bias // half | 1) * half, parts.bias).astype(np.int32)
    return dataclasses.replace(block, requantization=Requantization(bias, multiplier, parts.shift))


def expect_outputs(memory: StreamMemory, image: MemoryImage, blocks: list[PlacedBlock]) -> None:
    """Every output byte is missing until it is written in this run."""
    memory.write_counts[:] = 0
    for item in blocks:
        place = image.tensors[item.name]
        channels = np.arange(place.words) // (place.shape[1] * place.shape[2]) * CHANNELS_PER_WORD
        exists = channels[:, None] + np.arange(CHANNELS_PER_WORD) < place.shape[0]
        memory.missing[place.address : place.address + place.words] = exists


def check_tensor(where: str, expected: NDArray[np.int8], got: NDArray[np.int8]) -> None:
    """Every activation is the expected one; the first other is named."""
    wrong = np.argwhere(expected != got)
    if len(wrong):
        channel, row, column = wrong[0]
        raise AssertionError(
            f"{where}: {len(wrong)} of {expected.size} activations differ, first channel {channel}, row {row}, "
            f"column {column}: expected {expected[channel, row, column]}, got {got[channel, row, column]}"
        )


def check_writes(where: str, memory: StreamMemory, image: MemoryImage, blocks: list[PlacedBlock]) -> None:
    """Every byte of every output was written once, and nothing else was."""
    assert not memory.missing.any(), f"{where}: {memory.missing.sum()} output bytes were never written"
    size = sum(int(np.prod(image.tensors[item.name].shape)) for item in blocks)
    assert memory.write_counts.sum() == size, f"{where}: {size} bytes to write, got {memory.write_counts.sum()}"


def check_numbers(where: str, reports: list[dict[str, int]], image: MemoryImage) -> None:
    """One report a job, each with a duration."""
    numbers = sorted(job.number for job in image.network_program.jobs)
    assert sorted(report["job"] for report in reports) == numbers, f"{where}: jobs {numbers} to report, got {reports}"
    assert all(report["start_cycle"] < report["end_cycle"] for report in reports), f"{where}: cycles of {reports}"


def reports_of(item: PlacedBlock, reports: list[dict[str, int]], image: MemoryImage) -> list[dict[str, int]]:
    """The reports of a block's jobs."""
    numbers = {job.number for job in image.network_program.jobs if job.block == item.name}
    return [report for report in reports if report["job"] in numbers]


def check_counters(where: str, expected: dict[str, int], reports: list[dict[str, int]]) -> None:
    """The counters of a block's jobs add up to the golden model's."""
    for name, count in expected.items():
        got = sum(report[name] for report in reports)
        assert got == count, f"{where}: expected {count} {name}, got {got}"
