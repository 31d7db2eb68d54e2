"""The whole accelerator on layers that are not fused, alone and around blocks: every byte in memory and every counter."""

from typing import Any

import cocotb
import numpy as np

from sw.golden.network import run_block
from sw.golden.random_block import random_activation
from sw.program import PlacedBlock, build_image
from tb.bench import configuration
from tb.coverage import LayerRun, sample_block, sample_layer
from tb.fixed_cases import TINY, cases_of, make_layers, run_layer
from tb.programs import (
    Accelerator,
    check_activity,
    check_counters,
    check_numbers,
    check_tensor,
    check_writes,
    expect_outputs,
    jobs_of,
    reports_of,
)

CASES = cases_of(configuration(TINY))

UNUSED = ("convolution", "sums")
"""Kinds that no network has in this form: a stem is a pointwise layer on the image unit's windows."""


@cocotb.test()
@cocotb.parametrize(index=range(len(CASES)))
async def outputs_and_counters(dut: Any, index: int) -> None:
    """One program, run twice: the second time with other activations in the same memory, all of them extreme."""
    case, config = CASES[index], configuration()
    layers = make_layers(case, config, 1000 * index + cocotb.RANDOM_SEED)
    image = build_image(layers, config)
    accelerator = Accelerator(dut, case, image.words.copy())
    place = image.tensors["input"]
    await accelerator.bench.reset()
    for attempt in range(2):
        where = f"{case.name}, run {attempt + 1}"
        tensor: Any = random_activation(place.shape, 1000 * index + attempt, extreme=attempt == 1)
        place.write(accelerator.memory.words, tensor)
        expect_outputs(accelerator.memory, image)
        reports = await accelerator.run(image.network_program.address, len(image.network_program.jobs))
        check_numbers(where, reports, image)
        for layer, (kind, *_, shuffle) in zip(layers, case.layers, strict=True):
            if isinstance(layer, PlacedBlock):
                sample_block(layer, image, config, case)
                tensor, counts = run_block(layer.block, layer.spec, tensor.astype(np.int8))
                expected = vars(counts)
            else:
                if kind not in UNUSED:
                    jobs = jobs_of(layer.name, image)
                    sample_layer(LayerRun(kind, layer.input_shape, jobs, layer.kernel, shuffle), config, case)
                tensor, multiplications = run_layer(layer, tensor)
                expected = {"multiplications": multiplications, **vars(image.loads[layer.name])}
            got = image.tensors[layer.name].read(accelerator.memory.words)
            check_tensor(f"{where}, {layer.name}", tensor, got)
            check_counters(f"{where}, {layer.name}", expected, reports_of(layer.name, reports, image))
        check_writes(where, accelerator.memory, image)
        check_activity(where, reports, accelerator.activity.items, image, config)
