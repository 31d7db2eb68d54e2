"""Gates in the tables that they are for: where they lie, which jobs wait for them, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hw.contract.config import Depths, preset
from hw.contract.errors import ArchonError
from hw.contract.rules import broken_rules
from hw.contract.tables import GATE_BYTE, REQUANTIZE_ROW
from sw.bundle.network import DenseLayer, ExcitedBlock, IntegerNetwork, Requantization, Scaling
from sw.export.random_network import Survivors, random_network
from sw.golden.test_excitation import excited_spec, images
from sw.program import MemoryImage, Wiring, build_image, network_image
from sw.program.network import pointwise_layer, scale_layer
from sw.program.plan import TensorForm

CUT = dataclasses.replace(preset("tiny"), clusters=3, depths=dataclasses.replace(Depths(), output=4, activation=112))
"""Layers are cut into several segments."""


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(excited_spec(), 4, Survivors(0.5, 0.5), images(1)).network


@pytest.fixture(scope="module")
def image(network: IntegerNetwork) -> MemoryImage:
    return network_image(network, CUT)


def segments_of(image: MemoryImage, layer: str) -> set[tuple[int, int]]:
    fields = [job.fields for job in image.network_program.jobs if job.layer == layer]
    return {(field["table_address"], field["table_words"]) for field in fields}


def test_the_gate_is_the_low_byte_of_the_multiplier() -> None:
    row = {"bias": -1, "multiplier": 0, "shift": 13, "byte": 5, "plane": 77}
    packed = REQUANTIZE_ROW.pack(row)
    assert REQUANTIZE_ROW.unpack(packed | 100 << 8 * GATE_BYTE) == row | {"multiplier": 100}


def test_gates_are_written_into_the_rows_of_the_layer_that_multiplies(network: IntegerNetwork, image: MemoryImage) -> None:
    place, block = image.tensors["block 2 excite"], network.blocks[1]
    assert (place.form, place.shape) == (TensorForm.GATES, (6, 1, 1))
    assert isinstance(block, ExcitedBlock)
    memory, gates = image.words.copy(), np.arange(100, 106, dtype=np.int8).reshape(6, 1, 1)
    assert not place.read(memory).any()
    place.write(memory, gates)
    np.testing.assert_array_equal(place.read(memory), gates)
    changed = np.flatnonzero(memory != image.words)
    assert changed.tolist() == sorted(place.address + row for row in place.rows)
    for channel, row in enumerate(place.rows):
        words = memory[place.address + row : place.address + row + REQUANTIZE_ROW.words]
        found = REQUANTIZE_ROW.unpack(sum(int(word) << 64 * index for index, word in enumerate(words)))
        expected = {"bias": 0, "multiplier": 100 + channel, "shift": int(block.excitation.scale.shift[channel])}
        assert found == expected | {"byte": channel, "plane": 0}
    written = place.written_bytes()
    assert written.sum() == 6
    assert written[list(place.rows), GATE_BYTE].all()


def test_only_layers_that_multiply_by_gates_have_late_tables(network: IntegerNetwork, image: MemoryImage) -> None:
    scales = {layer.name for layer in network.spec.layers if layer.kind == "scale"}
    for job in image.network_program.jobs:
        assert job.fields["late_tables"] == (job.layer in scales)
        assert not broken_rules(job.fields, CUT)
    assert len(segments_of(image, "block 1 scale")) > 1


def test_tables_that_are_written_lie_behind_all_others(network: IntegerNetwork, image: MemoryImage) -> None:
    for layer in network.spec.layers:
        for address, words in segments_of(image, layer.name):
            if layer.kind == "scale":
                assert image.activation_address <= address
                assert address + words <= image.tensors["pixels"].address
            else:
                assert address + words <= image.activation_address
    np.testing.assert_array_equal(image.constant_words, image.words[: image.activation_address])


def parts(channels: int) -> Requantization:
    return Requantization(np.zeros(channels, np.int32), np.ones(channels, np.int32), np.zeros(channels, np.int8))


def test_gates_for_another_layer_are_refused() -> None:
    excite = pointwise_layer("excite", DenseLayer(np.ones((4, 2), np.int8), parts(4)), (2, 1, 1), 1, 2, shuffle=False)
    scale = scale_layer("scale", Scaling(np.ones(4, np.int8), np.zeros(4, np.int8)), (4, 3, 3))
    gates = dataclasses.replace(excite, gate_rows=scale.plan(CUT).rows)
    other = scale_layer("other", Scaling(np.ones(2, np.int8), np.zeros(2, np.int8)), (2, 1, 1))
    for gated in (None, "excite", "other"):
        wirings = {"excite": Wiring(source="input", gated=gated), "other": Wiring(source="input")}
        with pytest.raises(ArchonError, match=f"excite: expected a layer whose 4 multipliers are gates, got {gated}"):
            build_image([gates, other], CUT, wirings=wirings)
