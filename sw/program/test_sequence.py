"""Memory images of networks with every kind of block: tensors that are joined, what is read where, what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hw.contract.config import ArchonConfig, Depths, preset
from hw.contract.errors import ArchonError
from sw.bundle.network import DenseLayer, IntegerNetwork, Requantization
from sw.export.random_network import Survivors, random_network
from sw.golden.test_kinds import images, kinds_spec
from sw.program import INPUT_TENSOR, MemoryImage, Wiring, build_image, network_image
from sw.program.network import depthwise_layer, pointwise_layer

WIDE = dataclasses.replace(preset("tiny"), clusters=2, kernel=5, depths=Depths())


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(kinds_spec(), 4, Survivors(0.5, 0.5), images(1)).network


@pytest.fixture(scope="module")
def image(network: IntegerNetwork) -> MemoryImage:
    return network_image(network, WIDE)


def jobs_of(image: MemoryImage, layer: str) -> list[dict[str, int]]:
    return [job.fields for job in image.network_program.jobs if job.layer == layer]


def test_every_layer_has_its_program_and_tensor(network: IntegerNetwork, image: MemoryImage) -> None:
    layers = network.spec.layers
    assert [program.name for program in image.layer_programs] == [layer.name for layer in layers]
    assert set(image.tensors) == {INPUT_TENSOR, "block 3", "block 5", *(layer.name for layer in layers)}
    for layer in layers:
        assert image.tensors[layer.name].shape == layer.output.shape
        fused = layer.kind in {"fused block", "fused pointwise pair"}
        assert (layer.name in image.loads) == (not fused)
        for fields in jobs_of(image, layer.name):
            source = image.tensors[layer.source.name]
            inside = source.address <= fields["input_address"] < source.address + source.words
            assert inside
            assert fields["output_address"] == image.tensors[layer.name].address
            if layer.kind not in {"image", "dense"}:
                assert (fields["relu"], fields["stride_two"]) == (layer.relu, layer.stride == 2 or layer.kind == "pool")
            assert fields["residual"] == (layer.residual is not None)
            if layer.residual is not None:
                assert fields["residual_address"] == image.tensors[layer.residual].address
    assert not image.words[image.activation_address :].any()


def test_halves_lie_in_one_tensor(image: MemoryImage) -> None:
    whole, pooled, own = (image.tensors[name] for name in ("block 5", "block 5 shortcut", "block 5 depthwise"))
    assert whole.address == pooled.address == own.address
    assert (whole.shape, pooled.shape, own.shape) == ((24, 3, 2), (15, 3, 2), (9, 3, 2))
    memory = image.words.copy()
    random = np.random.default_rng(1)
    first, second = (random.integers(-128, 128, place.shape).astype(np.int8) for place in (pooled, own))
    pooled.write(memory, first)
    own.write(memory, second)
    np.testing.assert_array_equal(whole.read(memory), np.concatenate([first, second]))
    np.testing.assert_array_equal(pooled.read(memory), first)
    np.testing.assert_array_equal(own.read(memory), second)


def test_every_group_of_a_shuffled_pair_reads_all_channels(image: MemoryImage) -> None:
    source = image.tensors["block 4 depthwise"]
    jobs = jobs_of(image, "block 5 pair")
    assert {fields["input_channels"] for fields in jobs} == {15}
    assert {(fields["first_byte"], fields["output_channels"], fields["fixed"]) for fields in jobs} == {(0, 3, 0)}
    assert all(source.address <= fields["input_address"] < source.address + 24 for fields in jobs)
    assert len(jobs) == 3
    assert {fields["input_channels"] for fields in jobs_of(image, "block 6 pair")} == {8}


@pytest.mark.parametrize(
    ("memory", "depth", "layer"), [("accumulator", 4, "block 4 pair, group 0"), ("row_store", 7, "block 4 pair, group 0")]
)
def test_what_does_not_fit_is_named(network: IntegerNetwork, memory: str, depth: int, layer: str) -> None:
    config: ArchonConfig = dataclasses.replace(WIDE, depths=dataclasses.replace(WIDE.depths, **{memory: depth}))
    with pytest.raises(ArchonError, match=rf"^{layer}.*: .*memory needs \d+ rows, the configuration has {depth}$"):
        network_image(network, config)


def fixed(name: str, inputs: int, outputs: int) -> Any:
    parts = Requantization(np.zeros(outputs, np.int32), np.ones(outputs, np.int32), np.zeros(outputs, np.int8))
    return pointwise_layer(name, DenseLayer(np.ones((outputs, inputs), np.int8), parts), (inputs, 3, 3), 1, 4, shuffle=False)


@pytest.mark.parametrize(
    ("wirings", "sentence"),
    [
        ({"second": Wiring(source="nothing")}, r"second: expected a tensor nothing, got none of that name"),
        ({"second": Wiring(source="input")}, r"second: expected the output \(2, 3, 3\) of input as its input, got \(4, 3, 3\)"),
        ({"second": Wiring(residual="input")}, r"second: expected a residual of \(6, 3, 3\), got \(2, 3, 3\) of input"),
        (
            {"second": Wiring(target=("joined", 9), first_channel=4)},
            r"second: .*within \(9, 3, 3\) of joined, got \(6, 3, 3\) from",
        ),
    ],
)
def test_wrong_wirings_are_named(wirings: dict[str, Wiring], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence):
        build_image([fixed("first", 2, 4), fixed("second", 4, 6)], WIDE, wirings=wirings)


def test_halves_of_another_size_are_named() -> None:
    layer = fixed("first", 2, 4)
    parts = Requantization(np.zeros(2, np.int32), np.ones(2, np.int32), np.zeros(2, np.int8))
    pooled = depthwise_layer("second", DenseLayer(np.ones((2, 3, 3), np.int8), parts), (2, 3, 3), 2)
    wirings = {"first": Wiring(target=("joined", 6)), "second": Wiring(source="input", target=("joined", 6), first_channel=4)}
    with pytest.raises(ArchonError, match=r"second: expected an output within \(6, 3, 3\) of joined, got \(2, 2, 2\)"):
        build_image([layer, pooled], WIDE, wirings=wirings)
