"""Table segments taken apart: every word is accounted for, and the pairs add to exactly the entries that have weights."""

import numpy as np
import pytest

from hw.contract.config import ArchonConfig, preset
from hw.contract.tables import SECTION_HEADER, TableKind
from hw.contract.taps import SMALL_KERNEL
from sw.bundle.network import DenseLayer, Requantization
from sw.cycles.fixed import activations_there, fixed_job, multiplier_cycles, taps_inside
from sw.cycles.segments import Segment, read_segment, written_words
from sw.golden import random_block
from sw.program.fixed import FixedLayer
from sw.program.mapping import Mapping
from sw.program.network import depthwise_layer, pointwise_layer
from sw.program.steps import list_steps
from sw.program.tables import group_weights, table_segment
from sw.spec import BlockSpec

CONFIG = preset("tiny")
SPEC = BlockSpec(
    in_channels=10, expanded_channels=44, out_channels=6, kernel=3, stride=1, groups=2, residual=False, shuffle=True
)


def requantization(channels: int) -> Requantization:
    zeros = np.zeros(channels, dtype=np.int32)
    return Requantization(zeros, zeros + 1, zeros.astype(np.int8))


def dense_layer(shape: tuple[int, ...], seed: int) -> DenseLayer:
    random = np.random.default_rng(seed)
    weight = random.integers(-127, 128, shape) * (random.random(shape) < 0.4)
    return DenseLayer(weight.astype(np.int8), requantization(shape[0]))


def segments_of(layer: FixedLayer, config: ArchonConfig) -> list[tuple[Segment, int]]:
    plan = layer.plan(config)
    used = {job.table: job.fields for job in plan.jobs}
    return [
        (read_segment(words, used[index]["turns"], config), used[index]["output_channels"])
        for index, words in enumerate(plan.segments)
    ]


@pytest.mark.parametrize("adder_rows", [1, 2])
def test_a_fused_segment_is_read_to_its_end(adder_rows: int) -> None:
    config = ArchonConfig(lanes=2, slice_channels=4, adder_rows=adder_rows)
    block = random_block(SPEC, 3)
    words = table_segment(block, SPEC, 1, 30, config, "block")
    segment, weights = read_segment(words, 3, config), group_weights(block, SPEC, 1).used
    assert segment.pace.shape == words.shape
    assert (segment.pace >= 1).all()
    assert segment.members.sum() == weights.pairs.sum()
    steps = list_steps(weights.project_weight, config.widths.shift_max)
    counted = segment.steps(config).reshape(-1, adder_rows)[: len(weights.expand_weight)]
    assert (counted == steps.of_adder_rows(adder_rows).T).all()
    header = SECTION_HEADER.unpack(int(words[0]))
    assert header["kind"] == TableKind.EXPAND
    # A pair costs a cycle, and so does a step.
    assert segment.pace.sum() > weights.pairs.sum() + counted.sum()


@pytest.mark.parametrize("shuffle", [False, True])
def test_touched_entries_are_the_weights_of_a_pointwise_layer(shuffle: bool) -> None:
    layer = dense_layer((12, 5), 1)
    found = segments_of(pointwise_layer("pointwise", layer, (10, 6, 7), 2, CONFIG.lanes, shuffle=shuffle), CONFIG)
    assert sum(int(segment.touched(outputs).sum()) for segment, outputs in found) == np.count_nonzero(layer.weight) > 0


def test_taps_outside_the_image_are_not_multiplied() -> None:
    layer = dense_layer((6, SMALL_KERNEL, SMALL_KERNEL), 2)
    fixed = depthwise_layer("depthwise", layer, (6, 5, 4), 2)
    multiplied = 0
    for job in fixed.plan(CONFIG).jobs:
        assert fixed.mapping is Mapping.DEPTHWISE
        segment = read_segment(fixed.plan(CONFIG).segments[job.table], job.fields["turns"], CONFIG)
        touched = segment.touched(job.fields["output_channels"]).astype(int)
        inside = taps_inside(job).astype(int)
        multiplied += int(np.einsum("ktld,pd->", touched, inside))
        cycles, kinds = multiplier_cycles(job, segment)
        assert (cycles >= 1).all()
        assert cycles[kinds].sum() >= np.einsum("ktld,pd->", touched, inside)
    padded = np.pad(np.ones((6, 5, 4), dtype=int), ((0, 0), (1, 1), (1, 1)))
    expected = sum(
        int(((layer.weight != 0) * padded[:, row : row + SMALL_KERNEL, column : column + SMALL_KERNEL]).sum())
        for row in range(0, 5, 2)
        for column in range(0, 4, 2)
    )
    assert multiplied == expected


def test_a_pixel_of_a_fixed_layer_waits_for_the_rows_under_its_window() -> None:
    layer = dense_layer((6, SMALL_KERNEL, SMALL_KERNEL), 2)
    plan = depthwise_layer("depthwise", layer, (6, 5, 4), 2).plan(CONFIG)
    job = plan.jobs[0]
    assert job.fields["output_rows"] == 3
    loads = np.array([100.0, 200.0, 300.0, 400.0, 5000.0])
    assert activations_there(job, loads).tolist() == [200.0] * 2 + [400.0] * 2 + [5000.0] * 2
    assert activations_there(job, np.array([70.0])).tolist() == [70.0] * 6
    segment = read_segment(plan.segments[job.table], job.fields["turns"], CONFIG)
    late, early = (fixed_job(job, segment, loaded, CONFIG, 1.0) for loaded in (loads, loads[:1]))
    cycles, kinds = multiplier_cycles(job, segment)
    # Only the last row's pixels are left when the last row comes.
    assert 5000 < late <= 5000 + cycles[kinds[-2:]].sum() + 50
    assert early < 5000


@pytest.mark.parametrize(
    ("channels", "output_bytes", "expected"),
    [
        (list(range(8)), 1, (1, 0)),  # a whole word
        (list(range(12)), 1, (2, 1)),
        ([0, 8, 16], 1, (3, 3)),  # a word each
        ([0, 8, 0], 1, (3, 3)),
        ([0, 4, 8], 4, (2, 1)),  # four bytes each
    ],
)
def test_successive_outputs_of_one_word_are_written_together(
    channels: list[int], output_bytes: int, expected: tuple[int, int]
) -> None:
    places = np.array(channels)
    segment = Segment(np.ones(1, dtype=np.int64), places // 8 * 100, places % 8, [])
    assert written_words(segment, output_bytes) == expected
