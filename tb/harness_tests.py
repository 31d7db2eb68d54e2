"""The harness: two chained blocks through files and memory inside the model, at several speeds of memory."""

from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from sw.golden import random_activation, random_block, run_block
from sw.program import PlacedBlock, build_image, read_hex, write_hex
from sw.spec import BlockSpec
from tb.bench import configuration
from tb.harness import Harness
from tb.programs import check_activity

SPECS = (
    BlockSpec(in_channels=6, expanded_channels=18, out_channels=6, groups=2, residual=True, shuffle=True, kernel=3, stride=1),
    BlockSpec(
        in_channels=6, expanded_channels=10, out_channels=10, groups=1, residual=False, shuffle=False, kernel=3, stride=2
    ),
)
HEIGHT, WIDTH = 5, 7
CYCLE_LIMIT = 100_000
SPEEDS = ((0, 0), (100, 0), (3, 120))
"""Latency and pause of the memory."""


@cocotb.test()
async def chained_blocks(dut: Any) -> None:
    """New activations at every speed in the same memory; outputs and counters are the golden model's."""
    config = configuration()
    blocks, height, width = [], HEIGHT, WIDTH
    for number, spec in enumerate(SPECS):
        block = random_block(spec, seed=cocotb.RANDOM_SEED + number, widths=config.widths)
        blocks.append(PlacedBlock(f"block {number + 1}", block, spec, height, width))
        height, width = -(-height // spec.stride), -(-width // spec.stride)
    image = build_image(blocks, config)
    harness = Harness(dut)
    await harness.reset()
    await harness.memory.load(hex_file("image", image.words))
    for run, (latency, pause) in enumerate(SPEEDS):
        harness.memory.speed(latency, pause)
        tensor = random_activation(image.tensors["input"].shape, cocotb.RANDOM_SEED + run)
        words = np.zeros_like(image.words)
        place = image.tensors["input"]
        place.write(words, tensor)
        await harness.memory.load(hex_file("input", words[place.address :][: place.words], place.address))
        program = image.network_program
        reports = await harness.run(program.address, len(program.jobs), CYCLE_LIMIT)
        dumped = Path("output.hex").resolve()
        await harness.memory.dump(dumped, 0, len(image.words))
        memory = read_hex(dumped, len(image.words))
        counted = {"multiplications": 0, "additions": 0, "steps": 0}
        for item in blocks:
            tensor, counts = run_block(item.block, item.spec, tensor)
            found = image.tensors[item.name].read(memory)
            wrong = np.argwhere(found != tensor)
            assert not len(wrong), f"run {run}, {item.name}: {len(wrong)} bytes differ, the first at {wrong[0]}"
            counted = {name: total + getattr(counts, name) for name, total in counted.items()}
        for name, total in counted.items():
            assert sum(report[name] for report in reports) == total, f"run {run}: {name}"
        check_activity(f"run {run}", reports, harness.activity, image, config)
        harness.activity.clear()


def hex_file(name: str, words: Any, address: int = 0) -> Path:
    """Words as a file that the memory can load."""
    path = Path(f"{name}.hex").resolve()
    write_hex(path, words, address)
    return path
