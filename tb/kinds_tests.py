"""The whole accelerator on networks with every kind of block: every byte and every counter against the golden model."""

from typing import Any

import cocotb
import numpy as np

from hw.contract.config import CHANNELS_PER_WORD
from sw.golden import fixed_multiplications, run
from sw.program import INPUT_TENSOR, image_windows, network_image
from tb.bench import configuration
from tb.fixed_cases import TINY
from tb.kinds_cases import cases_of, make_network
from tb.programs import (
    Accelerator,
    check_counters,
    check_numbers,
    check_tensor,
    check_writes,
    expect_outputs,
    reports_of,
)

CASES = cases_of(configuration(TINY))


@cocotb.test()
@cocotb.parametrize(index=range(len(CASES)))
async def outputs_and_counters(dut: Any, index: int) -> None:
    """One network from pixels to logits, on two images in the same memory."""
    case = CASES[index]
    network, images = make_network(case, 1000 * index + cocotb.RANDOM_SEED)
    image = network_image(network, configuration())
    golden, fixed = run(network, images, "fused", keep_activations=True), fixed_multiplications(network)
    accelerator = Accelerator(dut, case, image.words.copy())
    await accelerator.bench.reset()
    for number, pixels in enumerate(images):
        where = f"{case.name}, image {number}"
        image.tensors[INPUT_TENSOR].write(accelerator.memory.words, pixels.transpose(2, 0, 1))
        expect_outputs(accelerator.memory, image)
        reports = await accelerator.run(image.network_program.address, len(image.network_program.jobs))
        check_numbers(where, reports, image)
        windows = image_windows(pixels, network.image_levels, case.stride)
        for layer in network.spec.layers:
            name, own = layer.name, reports_of(layer.name, reports, image)
            place = image.tensors[name]
            expected: Any = {"image": windows, "dense": golden.logits[number]}.get(name)
            expected = golden.activations[name][number] if expected is None else expected
            check_tensor(f"{where}, {name}", np.reshape(expected, place.shape), place.read(accelerator.memory.words))
            if name in golden.counts:
                check_counters(f"{where}, {name}", vars(golden.counts[name][number]), own)
            else:
                check_counters(f"{where}, {name}", {"multiplications": fixed[name], **vars(image.loads[name])}, own)
        # The image unit writes whole words, of padding bytes too.
        check_writes(where, accelerator.memory, image, CHANNELS_PER_WORD * image.tensors["image"].words - windows.size)
