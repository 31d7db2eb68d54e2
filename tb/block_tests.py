"""The whole accelerator on random blocks: every byte in memory and every counter against the golden model."""

import dataclasses
import os
from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.memory import IMAGE_LEVELS
from sw.bundle.network import FusedBlock, Requantization
from sw.golden.network import run_block, run_block_layerwise
from sw.golden.random_block import random_activation, random_block
from sw.golden.statistics import BlockStatistics
from sw.program import ImageLayer, PlacedBlock, Program, TensorForm, TensorPlace, build_image, image_windows
from sw.program.image import pack_program
from tb.bench import configuration
from tb.block_cases import DIRECTED, TINY, BlockCase, directed, random_case
from tb.coverage import LayerRun, sample_block, sample_layer
from tb.programs import (
    Accelerator,
    check_activity,
    check_counters,
    check_numbers,
    check_tensor,
    check_writes,
    expect_outputs,
    reports_of,
)

IMAGE = (1, 6, 5)
"""Channels, height and width of the raw images."""


def cases() -> list[BlockCase]:
    """The directed cases and as many random ones as the test asked for."""
    first, count = (int(part) for part in os.environ.get("ARCHON_RANDOM_CASES", "0,0").split(","))
    config = configuration(TINY)
    return [*directed(config), *(random_case(seed, config.kernel) for seed in range(first, first + count))]


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
            statistics = BlockStatistics()
            again = run_block_layerwise(item.block, item.spec, tensor, statistics)
            assert (expected == again).all(), f"{where}: golden models differ"
            got = image.tensors[item.name].read(accelerator.memory.words)
            check_tensor(f"{where}, {item.name}", expected, got)
            check_counters(f"{where}, {item.name}", vars(counts), reports_of(item.name, reports, image))
            sample_block(item, image, config, case, extreme=case.extreme, statistics=statistics)
            tensor = expected
        check_writes(where, accelerator.memory, image)
        check_activity(where, reports, accelerator.activity.items, image, config)


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


@cocotb.test()
@cocotb.parametrize(back_pressure=["never", "bursts"])
async def images_and_a_block(dut: Any, back_pressure: str) -> None:
    """A block reads the windows of a raw image; those of another image are written while it runs."""
    config, random = configuration(), np.random.default_rng(cocotb.RANDOM_SEED)
    case = BlockCase("images", ((1, 9, 12, 8, 1, False, False),), *IMAGE[1:], idle="rarely", back_pressure=back_pressure)
    levels = [random.integers(-128, 128, IMAGE_LEVELS).astype(np.int8) for _ in range(2)]
    images = [random.integers(0, 256, IMAGE, dtype=np.uint8) for _ in range(2)]
    layers = [ImageLayer(f"image {number}", IMAGE, table, 1) for number, table in enumerate(levels)]
    blocks = placed_blocks(case, cocotb.RANDOM_SEED)
    image = build_image([layers[0], *blocks], config)

    # The other image lies behind, and its job comes last, without a barrier.
    other, jobs = layers[1].plan(config), image.network_program.jobs
    tables = len(image.words)
    pixels = TensorPlace(tables + len(other.segments[0]), IMAGE, TensorForm.PIXELS)
    windows = TensorPlace(pixels.address + pixels.words, other.output_shape)
    job = other.jobs[0].placed(len(jobs), pixels.address, windows.address, [(tables, len(other.segments[0]))])
    job.fields["barrier"] = 0
    program = Program("images", windows.address + windows.words, (*jobs, job))
    room = np.zeros(pixels.words + windows.words, dtype=np.uint64)
    accelerator = Accelerator(dut, case, np.concatenate([image.words, other.segments[0], room, pack_program(program)]))
    memory = accelerator.memory
    image.tensors["input"].write(memory.words, images[0])
    pixels.write(memory.words, images[1])
    expect_outputs(memory, image)
    places = image.tensors["image 0"], windows
    for place in places:
        memory.missing[place.address : place.address + place.words] = True
    await accelerator.bench.reset()
    reports = await accelerator.run(program.address, len(program.jobs))
    assert sorted(report["job"] for report in reports) == list(range(len(program.jobs))), f"reports: {reports}"
    tensors = [image_windows(pixels.transpose(1, 2, 0), table, 1) for pixels, table in zip(images, levels, strict=True)]
    for layer, tensor, place in zip(layers, tensors, places, strict=True):
        check_tensor(layer.name, tensor, place.read(memory.words))
    expected, counts = run_block(blocks[0].block, blocks[0].spec, tensors[0])
    check_tensor("block", expected, image.tensors["block 1"].read(memory.words))
    check_counters("block", vars(counts), reports)
    # The image unit writes whole words, of padding bytes too.
    padding = CHANNELS_PER_WORD * sum(place.words for place in places) - tensors[0].size
    check_writes("images and a block", memory, image, padding)
    for layer, fields in zip(layers, (image.network_program.jobs[0], job), strict=True):
        sample_layer(LayerRun("image", layer.input_shape, [fields]), config, case)
    sample_block(blocks[0], image, config, case)


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
