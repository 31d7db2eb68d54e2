"""Table segments are decoded word by word, the slow and literal way, and compared with the weights they were made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hw.contract import tables
from hw.contract.config import ArchonConfig, Depths, preset
from hw.contract.layout import Layout, words_to_int
from hw.contract.tables import TableKind
from sw.bundle.network import FusedBlock, Requantization
from sw.program import MemoryImage, PlacedBlock, build_image
from sw.program.jobs import reduced
from sw.spec import BlockSpec

Row = dict[str, Any]

WIDE = dataclasses.replace(preset("tiny"), depths=Depths())


def with_depth(config: ArchonConfig, memory: str, depth: int) -> ArchonConfig:
    return dataclasses.replace(config, depths=dataclasses.replace(config.depths, **{memory: depth}))


def make_spec(
    channels: int = 6, expanded: int = 30, outputs: int = 9, groups: int = 3, stride: int = 1, shuffle: bool = True,
    kernel: int = 3,
) -> BlockSpec:  # fmt: skip
    return BlockSpec(
        in_channels=channels,
        expanded_channels=expanded,
        out_channels=outputs,
        kernel=kernel,
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
        depthwise_weight=sparse((expanded, spec.kernel, spec.kernel), -15, 15, np.int8, 0.3),
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
        predictor_depthwise_weight=sparse((expanded, spec.kernel, spec.kernel), -1, 1, np.int8),
        predictor_depthwise_threshold=sparse(expanded, -512, 511, np.int32, 0),
    )


class Segment:
    """Reads a table segment word by word."""

    def __init__(self, memory: NDArray[np.uint64], address: int, words: int) -> None:
        self.words, self.left = memory[address : address + words].tolist(), words
        self.kept: dict[str, list[int]] = {}

    def take(self, layout: Layout) -> Row:
        number = words_to_int(self.words[: layout.words])
        self.words, self.left = self.words[layout.words :], self.left - layout.words
        return layout.unpack(number)

    def take_dense(self, layout: Layout, rows: int) -> list[Row]:
        """The next rows of a layout of which several lie in a word, whatever came between; a new word with its first row."""
        kept = self.kept.setdefault(layout.name, [])
        while len(kept) < rows:
            word = self.words.pop(0)
            self.left -= 1
            kept += [word >> index * layout.width & (1 << layout.width) - 1 for index in range(layout.per_word)]
        found, self.kept[layout.name] = kept[:rows], kept[rows:]
        return [layout.unpack(row) for row in found]


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
            layout = tables.table_layout(kind, config, values.kernel)
            assert header["words"] == layout.words
            found[kind].append(segment.take(layout))
    assert sorted(found) == sorted([*shared, TableKind.LANES])
    assert not any(any(rows) for rows in segment.kept.values()), "behind the last row there is nothing"
    return found


class ValuePath:
    """W1 (E, C), D (E, taps), W2 (K, E), b1, b2 and which channels have them (E,), as lanes get them; E padded to slices."""

    def __init__(self, slices: int, inputs: int, outputs: int, config: ArchonConfig, kernel: int) -> None:
        expanded, self.turns, self.kernel = slices * config.slice_channels, -(-inputs // config.lanes), kernel
        self.w1 = np.zeros((expanded, self.turns * config.lanes), int)
        self.d, self.w2 = np.zeros((expanded, kernel**2), int), np.zeros((outputs, expanded), int)
        self.b1, self.b2, self.owned = (np.zeros(expanded, int) for _ in range(3))

    def read_slice(self, segment: Segment, index: int, config: ArchonConfig) -> None:
        first, lanes = index * config.slice_channels, np.zeros((config.lanes, config.slice_channels), bool)
        for e in range(first, first + config.slice_channels):
            channel = segment.take(tables.channel_record(config, self.kernel))
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


def taps_of(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights (E, k, k) as (E, taps): the inner 3x3 row by row, then the frame around it row by row."""
    order = list(np.ndindex(weights.shape[1:]))
    if len(order) == 25:
        inner = [(row, column) for row in range(1, 4) for column in range(1, 4)]
        order = inner + [place for place in order if place not in inner]
    return np.stack([weights[:, row, column] for row, column in order], axis=1)


def decode_slices(rows: list[Row], name: str, channels: int, real: int, padding: int) -> NDArray[Any]:
    values = np.array([row[name] for row in rows]).reshape(len(rows) * channels, -1)
    assert (values[real:] == padding).all()
    return values[:real]


def check_group(image: MemoryImage, item: PlacedBlock, group: int, config: ArchonConfig) -> None:
    """The tables are those of the expanded channels that have pairs, or of the first one."""
    spec, block, groups = item.spec, item.block, item.spec.groups
    expanded, inputs, outputs = (
        spec.expanded_channels // groups,
        spec.in_channels // groups,
        spec.out_channels // groups,
    )
    rows = np.arange(group * expanded, (group + 1) * expanded)
    every_w1, w2 = block.expand_weight[rows].astype(int), block.project_weight[group * outputs : (group + 1) * outputs]
    paired = (every_w1 != 0).any(axis=1) & (w2 != 0).any(axis=0)
    used = np.flatnonzero(paired) if paired.any() else np.array([0])
    rows, w2, paired, expanded = rows[used], w2[:, used], paired[used], len(used)
    job = next(job for job in image.network_program.jobs if (job.layer, job.group) == (item.name, group))
    assert job.fields["kernel_five"] == (spec.kernel == 5)
    values = ValuePath(job.fields["slices"], inputs, outputs, config, spec.kernel)
    segment = Segment(image.words, job.fields["table_address"], job.fields["table_words"])
    sections = read_segment(segment, config, values)

    w1 = block.expand_weight[rows].astype(int)
    d = taps_of(block.depthwise_weight[rows]).astype(int)
    pairs = (w1 != 0) & (w2 != 0).any(axis=0)[:, None]
    b1, b2 = block.expand_bias[rows].astype(int), block.depthwise_bias[rows]
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
    by_channel = [{"weights": np.array(row["weights"]).reshape(-1, p).T} for row in second]
    for got, expected in (
        (decode_slices(first, "thresholds", p, expanded, never), block.predictor_expand_threshold),
        (decode_slices(first, "shifts", p, expanded, 0), block.predictor_level_shift),
        (decode_slices(by_channel, "weights", p, expanded, 0), taps_of(block.predictor_depthwise_weight)),
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
    kernels=st.sampled_from([(3, 3), (3, 5), (5, 5)]),
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
    kernels: tuple[int, int],
    seed: int,
) -> None:
    spec = make_spec(groups * inputs, groups * expanded, groups * outputs, groups, stride, shuffle, kernels[0])
    config = dataclasses.replace(WIDE, lanes=lanes, clusters=clusters, kernel=kernels[1])
    item = PlacedBlock("block 1", make_block(spec, seed), spec, 7, 5)
    image = build_image([item], config)
    for group in range(groups):
        check_group(image, item, group, config)


def test_a_small_kernel_costs_hardware_of_a_large_one_no_words() -> None:
    spec = make_spec()
    images = [
        build_image([PlacedBlock("block", make_block(spec, 3), spec, 7, 5)], dataclasses.replace(WIDE, kernel=kernel))
        for kernel in (3, 5)
    ]
    np.testing.assert_array_equal(images[0].words, images[1].words)
