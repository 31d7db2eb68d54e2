"""Layers that are not fused: every weight is loaded by the jobs that need it, every pixel and output is some job's."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.config import ArchonConfig, Depths, preset
from hw.contract.errors import ArchonError
from hw.contract.rules import broken_rules
from hw.contract.tables import PER_LANE, REQUANTIZE_ROW, TableKind
from sw.bundle.network import DenseLayer, Requantization
from sw.program import FixedGroup, FixedLayer, MemoryImage, build_image
from sw.program.mapping import Mapping
from sw.program.network import dense_layer, depthwise_layer, pointwise_layer, pool_layer
from sw.program.plan import Loads
from sw.program.test_program import unpack_program
from sw.program.test_tables import Segment, ValuePath, read_segment, with_depth

WIDE = dataclasses.replace(preset("tiny"), kernel=5, depths=Depths())
SMALL = dataclasses.replace(
    WIDE, depths=dataclasses.replace(WIDE.depths, activation=60, accumulator=12, output=5, step=70, pair=40, turned_slices=40)
)


def requantization(channels: int) -> Requantization:
    numbers = np.arange(channels)
    return Requantization(
        (1000 - 7 * numbers).astype(np.int32), (100 + numbers).astype(np.int32), (numbers % 40).astype(np.int8)
    )


def weights(shape: tuple[int, ...], seed: int, kept: float = 0.5) -> Any:
    random = np.random.default_rng(seed)
    return (random.integers(-128, 128, shape) * (random.random(shape) < kept)).astype(np.int8)


def convolution(
    channels: int, outputs: int, height: int, width: int, seed: int, stride: int = 1, kernel: int = 3
) -> FixedLayer:
    group = FixedGroup(0, weights((outputs, channels, kernel**2), seed), requantization(outputs), np.arange(outputs))
    return FixedLayer("layer", (channels, height, width), (group,), stride, relu=True)


LAYERS = {
    "convolution": convolution(3, 7, 6, 5, 1),
    "convolution, stride 2": convolution(2, 4, 7, 8, 2, 2),
    "convolution, 5x5": convolution(2, 5, 7, 8, 3, 2, 5),
    "depthwise, 5x5": depthwise_layer("layer", DenseLayer(weights((7, 5, 5), 4), requantization(7)), (7, 9, 8), 2),
    "pointwise": pointwise_layer("layer", DenseLayer(weights((12, 7), 3), requantization(12)), (21, 6, 5), 3, 2, shuffle=True),
    "depthwise": depthwise_layer("layer", DenseLayer(weights((7, 3, 3), 4), requantization(7)), (7, 9, 8), 1),
    "pool": pool_layer("layer", requantization(5), (5, 13, 11)),
    "pointwise, merged": pointwise_layer(
        "layer", DenseLayer(weights((12, 6), 9), requantization(12)), (18, 4, 3), 3, 2, shuffle=True
    ),
    "dense": dense_layer("layer", weights((10, 37), 5), np.arange(10, dtype=np.int32) - 5),
    "no weights": dense_layer("layer", weights((2, 3), 6, 0.0), np.arange(2, dtype=np.int32)),
}


def loaded(image: MemoryImage, fields: dict[str, Any], config: ArchonConfig) -> tuple[Any, list[Any], Loads]:
    """Weights (K, C, taps) that a job's segment loads, its REQUANTIZE rows, and the additions and steps."""
    lanes, inputs = config.lanes, fields["input_channels"]
    values = ValuePath(
        fields["slices"], fields["turns"] * lanes, fields["output_channels"], config, 3 + 2 * fields["kernel_five"]
    )
    segment = Segment(image.words, fields["table_address"], fields["table_words"])
    rows = read_segment(segment, config, values, (TableKind.REQUANTIZE,))[TableKind.REQUANTIZE]
    assert not values.owned.any()
    seen = np.einsum("ke,ec,ed->kcd", values.w2, values.w1, values.d)
    entries = np.zeros((len(rows), inputs, values.kernel**2), int)
    for output, place, tap in np.argwhere(seen):
        turn, lane = divmod(place, lanes)
        to = output, place, tap
        if fields["channel_taps"]:
            to = output, (9 * turn + tap) * lanes + lane, 4
        elif fields["depthwise"]:
            assert turn == 0
            to = output * lanes + lane, output * lanes + lane, tap
        entries[to] = seen[output, place, tap]
    steps = [[numbers_of_steps(weight) for weight in column] for column in values.w2.T]
    additions, in_all = 0, 0
    for column, pairs, taps in zip(steps, np.count_nonzero(values.w1, axis=1), np.count_nonzero(values.d, axis=1), strict=True):
        additions += sum(map(sum, column)) * int(pairs * taps)
        in_all += sum(map(len, column)) * int(pairs)
    return entries, rows, Loads(additions, in_all)


def numbers_of_steps(weight: int) -> list[int]:
    """Signed powers of two of a weight by the textbook's rule, two a step."""
    digits, value = 0, int(weight)
    while value:
        if value % 2:
            digits += 1
            value -= 2 - value % 4
        value //= 2
    return [2] * (digits // 2) + [1] * (digits % 2)


@pytest.mark.parametrize("clusters", [1, 3])
@pytest.mark.parametrize("config", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize("name", LAYERS)
def test_jobs_compute_every_output_from_all_its_weights(name: str, config: ArchonConfig, clusters: int) -> None:
    layer, config = LAYERS[name], dataclasses.replace(config, clusters=clusters)
    image = build_image([layer], config)
    channels, height, width = layer.output_shape
    rows = layer.window.output_height
    whole = np.zeros((channels, layer.input_shape[0], layer.groups[0].weight.shape[2]), int)
    for group in layer.groups:
        whole[group.channels, group.first_input : group.first_input + group.weight.shape[1]] = group.weight
    seen = np.zeros((channels, layer.input_shape[0], rows), int)
    running: dict[int, list[int]] = {}
    written, kept, loads = 0, dict[int, list[int]](), Loads(0, 0)
    for fields in unpack_program(image, image.network_program.address):
        assert (fields["fixed"], fields["relu"], fields["summed"], fields["raw"]) == (1, layer.relu, layer.summed, layer.raw)
        entries, table, of_job = loaded(image, fields, config)
        loads += of_job
        read = [fields[field] for field in ("input_address", "first_byte", "input_channels", "input_rows")]
        assert fields["same_input"] == (kept.get(fields["cluster"]) == read)
        kept[fields["cluster"]] = read
        places = [8 * row["plane"] // (height * width) + row["byte"] for row in table]
        outputs = [place // 4 for place in places] if layer.raw else places
        first = 8 * ((fields["input_address"] - image.tensors["input"].address) // fields["plane_words"]) + fields["first_byte"]
        inputs = slice(first, first + fields["input_channels"])
        np.testing.assert_array_equal(entries, whole[outputs, inputs])
        start, band = fields["output_row_start"], fields["output_rows"]
        seen[outputs, inputs, start : start + band] += 1
        check_window(layer, fields)
        if layer.summed:
            assert (fields["cluster"] in running) != fields["sum_first"], "a chain begins once, and ends before the next"
            assert running.setdefault(fields["cluster"], outputs) == outputs, "a chain has one set of outputs"
            if fields["sum_last"]:
                running.pop(fields["cluster"])
                written += len(outputs)
            assert fields["first_pixel"] == 0
        else:
            assert fields["first_pixel"] == start * width
            written += len(outputs) * band
        check_requantization(layer, outputs, table)
    assert not running
    assert written == channels * height
    owned = np.zeros_like(seen)
    for group in layer.groups:
        owned[group.channels, group.first_input : group.first_input + group.weight.shape[1]] = 1
    if layer.mapping is Mapping.DEPTHWISE:
        seen, owned = (np.diagonal(counts) for counts in (seen, owned))
    np.testing.assert_array_equal(seen, owned)
    assert loads == image.loads["layer"]


def check_window(layer: FixedLayer, fields: dict[str, Any]) -> None:
    """The job's input rows are those under its weights, and its channels lie in the planes that it reads."""
    start, rows = fields["output_row_start"], fields["output_rows"]
    rows_of_taps = [-1, -1, -1, 0, 0, 0, 1, 1, 1, *(-2, -2, -2, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 2, 2, 2)]
    used = {rows_of_taps[tap] for group in layer.groups for tap in np.flatnonzero(group.weight.any(axis=(0, 1)))} | {0}
    first, last = layer.stride * start + min(used), layer.stride * (start + rows - 1) + max(used)
    needed = [row for row in range(first, last + 1) if 0 <= row < layer.input_shape[1]]
    assert needed == list(range(fields["input_row_start"], fields["input_row_start"] + fields["input_rows"]))
    assert fields["planes"] == -(-(fields["first_byte"] + fields["input_channels"]) // 8)


def check_requantization(layer: FixedLayer, outputs: list[int], table: list[Any]) -> None:
    """The rows hold the parameters of their output channels."""
    expected = {
        int(channel): (int(parts.bias[k]), int(parts.multiplier[k]), int(parts.shift[k]))
        for group in layer.groups
        for parts in [group.requantization]
        for k, channel in enumerate(group.channels)
    }
    assert [(row["bias"], row["multiplier"], row["shift"]) for row in table] == [expected[output] for output in outputs]


def test_small_memories_cut_layers_where_wide_ones_do_not() -> None:
    jobs = {name: [len(build_image([layer], config).network_program.jobs) for config in (WIDE, SMALL)]
            for name, layer in LAYERS.items()}  # fmt: skip
    assert jobs["convolution"][0] == jobs["pointwise"][0] // 3 == jobs["pointwise, merged"][0] == 1
    same = {"no weights", "convolution, stride 2", "convolution, 5x5"}
    assert all(small > wide for name, (wide, small) in jobs.items() if name not in same)


@settings(max_examples=30, deadline=None)
@given(
    clusters=st.integers(1, 8),
    outputs=st.integers(1, 12),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_clusters_share_a_layer_out(clusters: int, outputs: int, height: int, width: int, seed: int) -> None:
    config = dataclasses.replace(WIDE, clusters=clusters)
    image = build_image([convolution(2, outputs, height, width, seed)], config)
    jobs = unpack_program(image, image.network_program.address)
    loads = np.bincount([fields["cluster"] for fields in jobs], minlength=clusters)
    assert len(jobs) == min(clusters, height)
    assert loads.max() - loads.min() <= 1
    for cluster in range(clusters):
        halves = [fields["half"] for fields in jobs if fields["cluster"] == cluster]
        assert halves == [index % 2 for index in range(len(halves))]


@pytest.mark.parametrize("memory", ["activation", "turned_slices", "pair", "step", "accumulator"])
@pytest.mark.parametrize("name", ["convolution", "pointwise", "depthwise", "dense"])
def test_the_depth_asked_for_is_enough_and_one_less_is_not(name: str, memory: str) -> None:
    depth, asked = 1, depth_asked_for(name, with_depth(SMALL, memory, 2))
    while asked is not None:
        assert asked > depth
        depth, asked = asked, depth_asked_for(name, with_depth(SMALL, memory, asked))
    if depth > 2 and memory not in {"pair", "step"}:  # of these the other form of the weights may need less
        assert depth_asked_for(name, with_depth(SMALL, memory, depth - 1)) == depth


def depth_asked_for(name: str, config: ArchonConfig) -> int | None:
    try:
        build_image([LAYERS[name]], config)
    except ArchonError as error:
        return int(re.findall(r"^layer, group \d+: \w+ memory needs (\d+) rows, the configuration has \d+$", str(error))[0])
    return None


def test_a_layer_behind_32_bit_sums_is_refused() -> None:
    first = dense_layer("sums", weights((4, 4), 7), np.zeros(4, np.int32))
    with pytest.raises(ArchonError, match="second: expected int8 activations as its input, got 32-bit sums of sums"):
        build_image([first, dense_layer("second", weights((4, 4), 7), np.zeros(4, np.int32))], WIDE)


def test_32_bit_tensors_come_back() -> None:
    image = build_image([dense_layer("layer", weights((5, 3), 8), np.zeros(5, np.int32))], WIDE)
    place, memory = image.tensors["layer"], image.words.copy()
    numbers = np.array([-(2**31), 2**31 - 1, -1, 0, 0x01020304]).reshape(5, 1, 1)
    place.write(memory, numbers)
    np.testing.assert_array_equal(place.read(memory), numbers)
    assert memory[place.address :].tolist() == [0x7FFFFFFF80000000, 0x00000000FFFFFFFF, 0x01020304]


def test_a_dense_layer_with_more_channels_than_a_job_reads_is_a_chain_of_jobs() -> None:
    config = dataclasses.replace(WIDE, depths=Depths(slices=2048, turned_slices=2048, pair=2048, step=8192))
    image = build_image([dense_layer("layer", weights((3, 1280), 8), np.zeros(3, np.int32))], config)
    jobs = [job.fields for job in image.network_program.jobs]
    assert sum(fields["input_channels"] for fields in jobs) % 1280 == 0
    assert max(fields["input_channels"] for fields in jobs) < 1024
    assert not any(broken_rules(fields, config) for fields in jobs)
    wide = pointwise_layer("wide", DenseLayer(weights((4, 1024), 8), requantization(4)), (1024, 2, 2), 1, 4, shuffle=False)
    with pytest.raises(ArchonError, match="wide, group 0: a job reads at most 1023 input channels, got 1024"):
        build_image([wide], config)


def test_segments_have_nothing_of_a_predictor() -> None:
    image = build_image([LAYERS["dense"]], WIDE)
    fields = unpack_program(image, image.network_program.address)[0]
    assert fields["table_words"] > REQUANTIZE_ROW.words * fields["output_channels"]
    assert loaded(image, fields, WIDE)[0].any()
    assert TableKind.REQUANTIZE not in PER_LANE


@pytest.mark.parametrize("mapping", [Mapping.CHANNELS, Mapping.DEPTHWISE])
def test_weights_that_lanes_have_no_place_for_are_refused(mapping: Mapping) -> None:
    layer = dataclasses.replace(convolution(3, 3, 4, 4, 9), mapping=mapping)
    with pytest.raises(ArchonError, match=f"layer, group 0: expected weights for a layer whose {mapping.value}, got others"):
        build_image([layer], WIDE)
