"""What a run is compared with: the layers in the form in which the accelerator runs them compute what the golden model does."""

import dataclasses
from typing import Any

import numpy as np

from hw.contract.config import preset
from hw.contract.memory import window_bytes
from sim.compare import COUNTERS
from sim.reference import make_reference
from sim.small_network import make_network, small_spec
from sw.datasets import load_excerpt
from sw.golden import run
from sw.program import INPUT_TENSOR, FixedLayer, network_image, network_layers
from tb.fixed_cases import run_layer


def test_layers_of_the_program_give_the_golden_models_activations() -> None:
    network, config = make_network(small_spec()), dataclasses.replace(preset("tiny"), lanes=4)
    memory, images = network_image(network, config), load_excerpt().images[:2]
    reference = make_reference(network, images, memory)
    golden = run(network, images, keep_activations=True)
    assert list(memory.tensors) == [INPUT_TENSOR, *reference.outputs[0]]
    fixed = [layer for layer in network_layers(network, config) if isinstance(layer, FixedLayer)]
    assert ["image", *(layer.name for layer in fixed)] == list(memory.loads)
    for number, image in enumerate(images):
        tensors: dict[str, Any] = {INPUT_TENSOR: image.transpose(2, 0, 1), **reference.outputs[number]}
        names = list(tensors)
        np.testing.assert_array_equal(tensors[INPUT_TENSOR], reference.inputs[number])
        assert reference.counts[number]["image"] == dict.fromkeys(COUNTERS, 0)
        for layer in fixed:
            source = tensors[names[names.index(layer.name) - 1]]
            if layer.name == "stem":  # its weights lie under every byte of a window's words, those that are left over as well
                source = source[window_bytes(len(source))]
            output, multiplications = run_layer(layer, source)
            np.testing.assert_array_equal(output, tensors[layer.name])
            counts = reference.counts[number][layer.name]
            assert set(counts) == set(COUNTERS)
            assert counts["multiplications"] == multiplications
        np.testing.assert_array_equal(tensors["dense"].reshape(-1), golden.logits[number])
        np.testing.assert_array_equal(tensors["last_pointwise"], golden.activations["last_pointwise"][number])
