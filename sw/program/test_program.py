"""A memory image is decoded word by word, the slow and literal way, and compared with the weights it was made of."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hw.contract import tables
from hw.contract.config import ArchonConfig, Depths, preset
from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB
from hw.contract.errors import ArchonError
from hw.contract.layout import Layout, words_to_int
from hw.contract.tables import TableKind
from sw.bundle.network import FusedBlock, Requantization
from sw.program import MemoryImage, PlacedBlock, build_image, read_hex, write_hex
from sw.program.blocks import block_jobs
from sw.program.jobs import reduced
from sw.spec import BlockSpec, load_spec

Row = dict[str, Any]

WIDE = dataclasses.replace(preset("tiny"), depths=Depths())


def with_depth(config: ArchonConfig, memory: str, depth: int) -> ArchonConfig:
    return dataclasses.replace(config, depths=dataclasses.replace(config.depths, **{memory: depth}))


def make_spec(
    channels: int = 6, expanded: int = 30, outputs: int = 9, groups: int = 3, stride: int = 1, shuffle: bool = True
) -> BlockSpec:
    return BlockSpec(
        in_channels=channels,
        expanded_channels=expanded,
        out_channels=outputs,
        kernel=3,
        stride=stride,
        groups=groups,
        residual=False,
        shuffle=shuffle,
    )


def make_block(spec: BlockSpec, seed: int) -> FusedBlock:
    """A sparse block with any values that the fields hold; no accumulator bound is needed to pack it."""
    random = np.random.default_rng(seed)
    expanded, inputs, outputs = spec.expanded_channels, spec.in_channels // spec.groups, spec.out_channels

    def sparse(shape: Any, low: int, high: int, dtype: Any, zeros: float = 0.5) -> NDArray[Any]:
        return (random.integers(low, high + 1, shape) * (random.random(shape) >= zeros)).astype(dtype)

    return FusedBlock(
        expand_weight=sparse((expanded, inputs), -15, 15, np.int8),
        expand_bias=sparse(expanded, -900, 900, np.int32),
        depthwise_weight=sparse((expanded, 3, 3), -15, 15, np.int8, 0.3),
        depthwise_bias=sparse(expanded, -90000, 90000, np.int32),
        project_weight=sparse((outputs, expanded // spec.groups), -128, 128, np.int32, 0.6),
        requantization=Requantization(
            sparse(outputs, -(10**9), 10**9, np.int32, 0),
            sparse(outputs, 1, 2**15 - 1, np.int32, 0),
            sparse(outputs, 0, 47, np.int8, 0),
        ),
        predictor_expand_weight=sparse((expanded, inputs), -1, 1, np.int8),
        predictor_expand_threshold=sparse(expanded, -512, 511, np.int32, 0),
        predictor_level_shift=sparse(expanded, 0, 7, np.int8, 0),
        predictor_depthwise_weight=sparse((expanded, 3, 3), -1, 1, np.int8),
        predictor_depthwise_threshold=sparse(expanded, -512, 511, np.int32, 0),
    )


class Segment:
    """Reads a table segment word by word."""

    def __init__(self, memory: NDArray[np.uint64], address: int, words: int) -> None:
        self.words, self.left = memory[address : address + words].tolist(), words

    def take(self, layout: Layout) -> Row:
        number = words_to_int(self.words[: layout.words])
        self.words, self.left = self.words[layout.words :], self.left - layout.words
        return layout.unpack(number)

    def take_dense(self, layout: Layout, rows: int) -> list[Row]:
        found: list[Row] = []
        while len(found) < rows:
            word = self.words.pop(0)
            self.left -= 1
            found += [layout.unpack(word >> index * layout.width & (1 << layout.width) - 1) for index in range(layout.per_word)]
            assert len(found) < rows or word >> layout.width * (layout.per_word - len(found) + rows) == 0
        return found[:rows]


def read_segment(
    segment: Segment, config: ArchonConfig, values: ValuePath, shared: tuple[TableKind, ...] = tables.SHARED
) -> dict[TableKind, list[Row]]:
    """Rows of the `shared` tables, all of which have to be there; the lanes' part goes to `values`."""
    found: dict[TableKind, list[Row]] = {}
    while segment.left:
        header = segment.take(tables.SECTION_HEADER)
        kind = TableKind(header["kind"])
        assert kind not in found, "a table is filled once"
        found[kind] = []
        if kind is TableKind.LANES:
            for index in range(header["rows"]):
                values.read_slice(segment, index, config)
            continue
        for _ in range(header["rows"]):
            assert header["words"] == tables.table_layout(kind, config).words
            found[kind].append(segment.take(tables.table_layout(kind, config)))
    assert sorted(found) == sorted([*shared, TableKind.LANES])
    return found


class ValuePath:
    """W1 (E, C), D (E, 9), W2 (K, E), b1, b2 and which channels have them (E,), as the lanes get them; E padded to slices."""

    def __init__(self, slices: int, inputs: int, outputs: int, config: ArchonConfig) -> None:
        expanded, self.turns = slices * config.slice_channels, -(-inputs // config.lanes)
        self.w1 = np.zeros((expanded, self.turns * config.lanes), int)
        self.d, self.w2 = np.zeros((expanded, 9), int), np.zeros((outputs, expanded), int)
        self.b1, self.b2, self.owned = (np.zeros(expanded, int) for _ in range(3))

    def read_slice(self, segment: Segment, index: int, config: ArchonConfig) -> None:
        first, lanes = index * config.slice_channels, np.zeros((config.lanes, config.slice_channels), bool)
        for e in range(first, first + config.slice_channels):
            channel = segment.take(tables.channel_record(config))
            self.d[e] = channel["weights"]
            lanes[:, e - first] = [channel["lanes"] >> lane & 1 for lane in range(config.lanes)]
            if channel["has_bias"]:
                bias = segment.take(tables.bias_record(config))
                self.b1[e], self.b2[e], self.owned[e] = bias["expand_bias"], bias["bias"], 1
                assert lanes[bias["owner"], e - first], "the owner has a pair"
            for step in segment.take_dense(tables.step_row(config), channel["step_count"]):
                self.w2[step["output"], e] += (-1) ** step["negative"] << step["shift"]
                if step["second"]:
                    self.w2[step["output"], e] += (-1) ** step["second_negative"] << step["second_shift"]
        seen = np.zeros_like(lanes)
        for turn in range(self.turns):
            members = segment.take(tables.members_record(config))["members"]
            places = [(lane, p) for lane in range(config.lanes) for p in range(config.slice_channels) if members[lane] >> p & 1]
            weights = segment.take_dense(tables.weight_record(config), len(places))
            for (lane, p), weight in zip(places, weights, strict=True):
                self.w1[first + p, turn * config.lanes + lane] = weight["weight"]
                seen[lane, p] = True
        np.testing.assert_array_equal(seen, lanes)


def decode_slices(rows: list[Row], name: str, channels: int, real: int, padding: int) -> NDArray[Any]:
    values = np.array([row[name] for row in rows]).reshape(len(rows) * channels, -1)
    assert (values[real:] == padding).all()
    return values[:real]


def check_group(image: MemoryImage, item: PlacedBlock, group: int, config: ArchonConfig) -> None:
    spec, block, groups = item.spec, item.block, item.spec.groups
    expanded, inputs, outputs = (
        spec.expanded_channels // groups,
        spec.in_channels // groups,
        spec.out_channels // groups,
    )
    rows = slice(group * expanded, (group + 1) * expanded)
    job = next(job for job in image.network_program.jobs if (job.layer, job.group) == (item.name, group))
    values = ValuePath(job.fields["slices"], inputs, outputs, config)
    segment = Segment(image.words, job.fields["table_address"], job.fields["table_words"])
    sections = read_segment(segment, config, values)

    w1, w2 = block.expand_weight[rows].astype(int), block.project_weight[group * outputs : (group + 1) * outputs]
    d = block.depthwise_weight[rows].reshape(expanded, 9).astype(int)
    pairs = (w1 != 0) & (w2 != 0).any(axis=0)[:, None]
    b1, b2, paired = block.expand_bias[rows].astype(int), block.depthwise_bias[rows], pairs.any(axis=1)
    owned = paired & ((d * b1[:, None]).any(axis=1) | (b2 != 0))
    for got, expected in (
        (values.w1.T, (w1 * pairs).T),
        (values.d, d * paired[:, None]),
        (values.w2.T, (w2 * paired).T),
        (values.owned, owned),
        (values.b1, b1 * (owned & d.any(axis=1))),
        (values.b2, b2 * owned),
    ):
        padded = np.zeros_like(got)
        padded[tuple(slice(size) for size in expected.shape)] = expected
        np.testing.assert_array_equal(got, padded)

    slices, turns, p = -(-expanded // config.slice_channels), -(-inputs // config.lanes), config.slice_channels
    weights = np.array([row["weights"] for row in sections[TableKind.EXPAND]]).reshape(slices, turns, p, config.lanes)
    ternary = weights.transpose(0, 2, 1, 3).reshape(slices * p, turns * config.lanes)
    np.testing.assert_array_equal(ternary[:expanded, :inputs], block.predictor_expand_weight[rows])
    assert not ternary[expanded:].any()
    assert not ternary[:, inputs:].any()
    never = (1 << (config.widths.predictor_sum - 1)) - 1
    first, second = sections[TableKind.EXPAND_THRESHOLD], sections[TableKind.DEPTHWISE]
    for got, expected in (
        (decode_slices(first, "thresholds", p, expanded, never), block.predictor_expand_threshold),
        (decode_slices(first, "shifts", p, expanded, 0), block.predictor_level_shift),
        (decode_slices(second, "weights", p, expanded, 0), block.predictor_depthwise_weight),
        (decode_slices(second, "thresholds", p, expanded, never), block.predictor_depthwise_threshold),
    ):
        np.testing.assert_array_equal(got, expected[rows].reshape(expanded, -1))
    pixels = reduced(item.height, spec.stride) * reduced(item.width, spec.stride)
    for k, row in enumerate(sections[TableKind.REQUANTIZE]):
        channel, requantization = group * outputs + k, block.requantization
        shuffled = k * groups + group if spec.shuffle else channel
        assert (row["plane"], row["byte"]) == (shuffled // 8 * pixels, shuffled % 8)
        assert row["bias"] == requantization.bias[channel]
        assert (row["multiplier"], row["shift"]) == (requantization.multiplier[channel], requantization.shift[channel])


@settings(max_examples=25, deadline=None)
@given(
    groups=st.sampled_from([1, 3, 4]),
    inputs=st.integers(1, 9),
    expanded=st.integers(1, 23),
    outputs=st.integers(1, 9),
    lanes=st.sampled_from([1, 2, 4, 8]),
    clusters=st.integers(1, 6),
    stride=st.sampled_from([1, 2]),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_tables_hold_the_weights(
    groups: int,
    inputs: int,
    expanded: int,
    outputs: int,
    lanes: int,
    clusters: int,
    stride: int,
    shuffle: bool,
    seed: int,
) -> None:
    spec = make_spec(groups * inputs, groups * expanded, groups * outputs, groups, stride, shuffle)
    config = dataclasses.replace(WIDE, lanes=lanes, clusters=clusters)
    item = PlacedBlock("block 1", make_block(spec, seed), spec, 7, 5)
    image = build_image([item], config)
    for group in range(groups):
        check_group(image, item, group, config)


def unpack_program(image: MemoryImage, address: int) -> list[Row]:
    jobs: list[Row] = []
    while True:
        words = image.words[address : address + JOB.words].tolist()
        fields: Row = JOB.unpack(words_to_int(words))
        if fields["end"]:
            return jobs
        jobs.append(fields)
        address += DESCRIPTOR_WORDS


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 3, 4]),
    clusters=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_jobs_cover_every_output_row_of_every_group_once(
    groups: int, clusters: int, stride: int, height: int, width: int
) -> None:
    spec = make_spec(groups * 3, groups * 4, groups * 2, groups, stride)
    image = build_image([PlacedBlock("block 1", make_block(spec, 1), spec, height, width)],
                        dataclasses.replace(WIDE, clusters=clusters))  # fmt: skip
    jobs = unpack_program(image, image.network_program.address)
    output_height = -(-height // stride)
    covered = np.zeros((groups, output_height), int)
    for cluster in range(clusters):
        halves = [fields["half"] for fields in jobs if fields["cluster"] == cluster]
        assert halves == [index % 2 for index in range(len(halves))], "jobs of a cluster alternate"
    for index, fields in enumerate(jobs):
        group = image.network_program.jobs[index].group
        assert fields == image.network_program.jobs[index].fields
        first, last = fields["output_row_start"], fields["output_row_start"] + fields["output_rows"] - 1
        covered[group, first : last + 1] += 1
        needed = [y for y in range(stride * first - 1, stride * last + 2) if 0 <= y < height]
        assert needed == list(range(fields["input_row_start"], fields["input_row_start"] + fields["input_rows"]))
        assert fields["barrier"] == (index == 0)
        assert fields["cluster"] < clusters
        assert fields["job"] == index
        center_row = fields["input_row_start"] + fields["first_center"] // width
        assert (center_row, fields["first_center"] % width) == (stride * first, 0)
    assert (covered == 1).all()
    assert len({fields["cluster"] for fields in jobs}) == min(len(jobs), clusters), "no cluster idles for nothing"


def test_input_planes_of_a_job_hold_its_channels() -> None:
    spec = make_spec(15, 30, 9, groups=3)
    item = PlacedBlock("block 1", make_block(spec, 2), spec, 4, 3)
    image = build_image([item], dataclasses.replace(WIDE, clusters=6))
    memory = image.words.copy()
    tensor = np.random.default_rng(3).integers(-128, 128, (15, 4, 3)).astype(np.int8)
    image.tensors["input"].write(memory, tensor)
    np.testing.assert_array_equal(image.tensors["input"].read(memory), tensor)
    for job in image.network_program.jobs:
        fields = job.fields
        for channel in range(5):
            plane, byte = divmod(channel + fields["first_byte"], 8)
            start = fields["input_address"] + plane * fields["plane_words"]
            got = memory[start : start + fields["segment"]].view(np.int8).reshape(-1, 8)[:, byte]
            rows = slice(fields["input_row_start"], fields["input_row_start"] + fields["input_rows"])
            np.testing.assert_array_equal(got, tensor[job.group * 5 + channel, rows].reshape(-1))
        assert fields["planes"] == -(-(fields["first_byte"] + 5) // 8)


def test_network_program_is_its_layer_programs_in_a_row() -> None:
    first, second = make_spec(6, 12, 9, 3, stride=2), make_spec(9, 12, 6, 3)
    blocks = [
        PlacedBlock("block 1", make_block(first, 4), first, 6, 5),
        PlacedBlock("block 2", make_block(second, 5), second, 3, 3),
    ]
    image = build_image(blocks, WIDE, "image")
    whole = unpack_program(image, image.network_program.address)
    parts = [unpack_program(image, program.address) for program in image.layer_programs]
    assert whole == parts[0] + parts[1]
    of_cluster = [fields["half"] for fields in whole if fields["cluster"] == 0]
    assert of_cluster == [index % 2 for index in range(len(of_cluster))], "also from block to block"
    assert [fields["barrier"] for fields in whole] == [1, 0, 0, 1, 0, 0]
    assert parts[0][0]["output_address"] == image.tensors["block 1"].address == parts[1][0]["input_address"]
    places = sorted((place.address, place.words) for place in image.tensors.values())
    assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(places))
    assert image.activation_address == places[0][0]
    assert sum(places[-1]) == len(image.words)
    assert not image.words[image.activation_address :].any()
    for item in blocks:
        for group in range(3):
            check_group(image, item, group, WIDE)


@pytest.mark.parametrize(
    ("memory", "field", "depth"),
    [
        ("activation", "activation", 14),
        ("row store", "row_store", 5),
        ("expand", "turned_slices", 2),
        ("expand_threshold", "slices", 2),
        ("pair", "pair", 2),
        ("step", "step", 3),
        ("accumulator", "accumulator", 2),
        ("requantize", "output", 2),
    ],
)
def test_a_block_that_does_not_fit_is_refused_by_memory(memory: str, field: str, depth: int) -> None:
    spec = make_spec()
    config = with_depth(WIDE, field, depth)
    with pytest.raises(
        ArchonError, match=rf"^block 7, group 0: {memory} memory needs \d+ rows, the configuration has {depth}$"
    ):
        build_image([PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)], config)


@pytest.mark.parametrize(
    "memory", ["activation", "slices", "turned_slices", "row_store", "pair", "step", "accumulator", "output"]
)
def test_the_depth_asked_for_is_enough_and_one_less_is_not(memory: str) -> None:
    spec = make_spec()
    item = PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)
    depth, asked = 2, depth_asked_for(item, with_depth(WIDE, memory, 2))
    while asked is not None:  # a group may need more than the one before
        assert asked > depth
        depth, asked = asked, depth_asked_for(item, with_depth(WIDE, memory, asked))
    assert depth > 2
    assert depth_asked_for(item, with_depth(WIDE, memory, depth - 1)) == depth


def depth_asked_for(item: PlacedBlock, config: ArchonConfig) -> int | None:
    try:
        build_image([item], config)
    except ArchonError as error:
        return int(re.findall(r" memory needs (\d+) rows, the configuration has \d+$", str(error))[0])
    return None


def test_the_row_store_holds_all_slices_of_a_row() -> None:
    spec = make_spec(expanded=30)  # 10 channels a group: 3 slices of 4
    item = PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)
    build_image([item], with_depth(WIDE, "row_store", 5 * 3))
    with pytest.raises(ArchonError, match=r"^block 7, group 0: row store memory needs 15 rows, the configuration has 14$"):
        build_image([item], with_depth(WIDE, "row_store", 5 * 3 - 1))


@pytest.mark.parametrize(("network", "name"), [("fusionet-nano", "small"), ("fusionet", "large")])
def test_activations_and_rows_of_the_known_networks_fit_their_presets(network: str, name: str) -> None:
    spec = load_spec(network)
    for block, shape in zip(spec.fused_blocks, spec.block_shapes(), strict=True):
        jobs = block_jobs("block", block, shape.in_height, shape.in_width, preset(name))
        assert {job.group for job in jobs} == set(range(block.groups))


@pytest.mark.parametrize(
    ("bias", "depthwise_bias", "message"),
    [
        (0, 1 << 22, r"layout channel_bias.bias holds .* got 4194304"),
        (1 << 17, 0, r"layout channel_bias.expand_bias holds .* got 131072"),
        (-(1 << 14), 0, r"layout pair.bias_products holds .* got -245760"),
    ],
)
def test_a_bias_that_does_not_fit_is_refused(bias: int, depthwise_bias: int, message: str) -> None:
    spec = make_spec()
    block = make_block(spec, 8)
    block.expand_bias[3], block.depthwise_bias[3] = bias, depthwise_bias
    block.expand_weight[3] = 1
    block.depthwise_weight[3] = 15 if bias < 0 else 1
    block.project_weight[:, 3] = 1
    with pytest.raises(ArchonError, match=rf"block 7, group 0: {message}"):
        build_image([PlacedBlock("block 7", block, spec, 7, 5)], WIDE)


def test_blocks_that_do_not_follow_each_other_are_refused() -> None:
    spec = make_spec()
    item = PlacedBlock("block 1", make_block(spec, 9), spec, 7, 5)
    with pytest.raises(ArchonError, match=r"block 2: expected the output \(9, 7, 5\) of block 1"):
        build_image([item, dataclasses.replace(item, name="block 2")], WIDE)


def test_hex_file_round_trip(tmp_path: Path) -> None:
    words = np.random.default_rng(10).integers(0, 2**63, 37).astype(np.uint64) * np.uint64(2)
    write_hex(tmp_path / "image.hex", words, address=5)
    assert [path.name for path in tmp_path.iterdir()] == ["image.hex"]
    read = read_hex(tmp_path / "image.hex", 50)
    np.testing.assert_array_equal(read[5:42], words)
    assert not read[:5].any()
    assert not read[42:].any()
    with pytest.raises(ArchonError, match="at most 20 words"):
        read_hex(tmp_path / "image.hex", 20)


def test_layouts_of_descriptors_fit_their_distance() -> None:
    assert isinstance(JOB, Layout)
    assert JOB.words <= DESCRIPTOR_WORDS
