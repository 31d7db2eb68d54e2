"""The whole accelerator on random blocks: every byte in memory and every counter against the golden model."""

import dataclasses
import os
from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from sw.bundle.network import FusedBlock, Requantization
from sw.golden.network import run_block, run_block_layerwise
from sw.golden.random_block import random_activation, random_block
from sw.program import PlacedBlock, build_image
from tb.bench import configuration
from tb.block_cases import DIRECTED, BlockCase, random_case
from tb.programs import (
    Accelerator,
    check_counters,
    check_numbers,
    check_tensor,
    check_writes,
    expect_outputs,
    reports_of,
)


def cases() -> list[BlockCase]:
    """The directed cases and as many random ones as the test asked for."""
    first, count = (int(part) for part in os.environ["ARCHON_RANDOM_CASES"].split(","))
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
        expect_outputs(accelerator.memory, image)
        reports = await accelerator.run(image.network_program.address, len(image.network_program.jobs))
        check_numbers(where, reports, image)
        for item in blocks:
            expected, counts = run_block(item.block, item.spec, tensor)
            assert (expected == run_block_layerwise(item.block, item.spec, tensor)).all(), f"{where}: golden models differ"
            got = image.tensors[item.name].read(accelerator.memory.words)
            check_tensor(f"{where}, {item.name}", expected, got)
            check_counters(f"{where}, {item.name}", vars(counts), reports_of(item.name, reports, image))
            tensor = expected
        check_writes(where, accelerator.memory, image)


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
    expect_outputs(accelerator.memory, image)
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
