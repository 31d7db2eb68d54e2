"""Where activations survive and what wrong predictions weigh: against the definitions read aloud, and in whole networks."""

from itertools import product

import numpy as np
import pytest

from sw.bundle.blocks import PointwisePair
from sw.bundle.network import FusedBlock, Requantization
from sw.export.random_network import Survivors, random_network
from sw.golden import (
    BlockInspection,
    BlockStatistics,
    ReluInspection,
    random_activation,
    random_block,
    run,
    run_block_layerwise,
)
from sw.golden.inspection import inspect_block, inspect_pair
from sw.golden.test_blocks import hand_worked
from sw.golden.test_kinds import images, kinds_spec
from sw.spec import BlockSpec, PointwisePairSpec

IMAGES = 2


def weights(relu: ReluInspection) -> tuple[float, float, float]:
    return relu.weight.true_positives, relu.weight.false_positives, relu.weight.false_negatives


def decisions(relu: ReluInspection) -> tuple[int, int, int, int]:
    counted = relu.statistics
    return counted.true_positives, counted.false_positives, counted.false_negatives, counted.true_negatives


class Literal:
    """One ReLU, decision by decision, in Python's numbers."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.decisions, self.weights, self.map = [0] * 4, [0.0] * 3, np.zeros(shape)

    def add_decision(self, mask: bool, positive: bool) -> None:
        self.decisions[[(True, True), (True, False), (False, True), (False, False)].index((mask, positive))] += 1

    def add_weight(self, mask: bool, z: int, size: float) -> None:
        if mask or z > 0:
            self.weights[(z <= 0) if mask else 2] += size

    def check(self, relu: ReluInspection) -> None:
        assert decisions(relu) == tuple(self.decisions)
        assert weights(relu) == pytest.approx(tuple(self.weights), rel=1e-12)
        np.testing.assert_allclose(relu.survivors, self.map, rtol=1e-12)


def factors(parts: Requantization) -> list[float]:
    return [int(multiplier) / 2 ** int(shift) for multiplier, shift in zip(parts.multiplier, parts.shift, strict=True)]


def masks(block: FusedBlock, spec: BlockSpec, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m1 (E, H, W) and m2 of one image: only where channels survive does the block's output depend on them."""
    expanded, inputs = spec.expanded_channels, spec.in_channels // spec.groups
    height, width = x.shape[1:]
    x4 = np.clip(np.sign(x) * ((np.abs(x.astype(int)) + 8) // 16), -8, 7)
    levels = np.zeros((expanded, height, width), dtype=int)
    second = np.zeros((expanded, -(-height // spec.stride), -(-width // spec.stride)), dtype=bool)
    for e in range(expanded):
        start = e // (expanded // spec.groups) * inputs
        excess = np.tensordot(block.predictor_expand_weight[e].astype(int), x4[start : start + inputs], 1)
        excess = excess - int(block.predictor_expand_threshold[e])
        levels[e] = np.where(excess > 0, np.minimum(15, -(-excess // (1 << int(block.predictor_level_shift[e])))), 0)
        for row, column in np.ndindex(second.shape[1:]):
            total = sum(
                int(block.predictor_depthwise_weight[e, dy, dx]) * int(levels[e, y, z])
                for dy, dx, y, z in taps(spec, row, column, height, width)
            )
            second[e, row, column] = total > block.predictor_depthwise_threshold[e]
    return levels != 0, second


def taps(spec: BlockSpec, row: int, column: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Row and column in the kernel and in the image of every tap inside the image."""
    reach = spec.kernel // 2
    places = (
        (dy, dx, spec.stride * row + dy - reach, spec.stride * column + dx - reach)
        for dy, dx in product(range(spec.kernel), repeat=2)
    )
    return [place for place in places if 0 <= place[2] < height and 0 <= place[3] < width]


def add_image(first: Literal, second: Literal, block: FusedBlock, spec: BlockSpec, x: np.ndarray, image: int) -> None:
    m1, m2 = masks(block, spec, x)
    first.map[image], second.map[image] = m1.mean(axis=0), m2.mean(axis=0)
    expanded, inputs, outputs = (n // spec.groups for n in (spec.expanded_channels, spec.in_channels, spec.out_channels))
    r = factors(block.requantization)
    for e in range(spec.expanded_channels):
        group = e // expanded
        part = x[group * inputs : (group + 1) * inputs].astype(int)
        z1 = np.tensordot(block.expand_weight[e].astype(int), part, 1) + int(block.expand_bias[e])
        kernel, bias = block.depthwise_weight[e].astype(int), int(block.depthwise_bias[e])
        reach = sum(
            abs(r[k] * int(block.project_weight[k, e % expanded])) for k in range(group * outputs, (group + 1) * outputs)
        )
        for place in np.ndindex(z1.shape):
            first.add_decision(bool(m1[e][place]), bool(z1[place] > 0))
        for row, column in np.ndindex(m2.shape[1:]):
            under = [
                (int(kernel[dy, dx]), int(z1[y, z]), bool(m1[e, y, z])) for dy, dx, y, z in taps(spec, row, column, *z1.shape)
            ]
            survives = bool(m2[e, row, column])
            z2 = bias + sum(weight * value for weight, value, mask in under if mask)
            exact = bias + sum(weight * max(value, 0) for weight, value, _ in under)
            second.add_decision(survives, exact > 0)
            second.add_weight(survives, z2, reach * abs(z2))
            for weight, value, mask in under:
                first.add_weight(mask, value, reach * survives * abs(weight * value))


@pytest.mark.parametrize("seed", range(8))
def test_blocks_equal_the_definitions_read_aloud(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2, 3]))
    spec = BlockSpec(
        in_channels=groups * 2, expanded_channels=groups * int(rng.integers(2, 7)), out_channels=groups * 2,
        kernel=int(rng.choice([3, 5])), stride=1 + seed % 2, groups=groups, residual=seed % 4 == 0, shuffle=seed % 3 == 0,
    )  # fmt: skip
    block = random_block(spec, seed, 0.3)
    batch = np.stack([random_activation((spec.in_channels, 4, 5), seed + image) for image in range(IMAGES)], axis=-1)
    first = Literal((IMAGES, 4, 5))
    second = Literal((IMAGES, -(-4 // spec.stride), -(-5 // spec.stride)))
    for image in range(IMAGES):
        add_image(first, second, block, spec, batch[..., image], image)
    found = BlockInspection()
    inspect_block(block, spec, found, batch)
    assert found.second is not None
    first.check(found.first)
    second.check(found.second)
    statistics = BlockStatistics()
    for image in range(IMAGES):
        run_block_layerwise(block, spec, batch[..., image], statistics)
    assert found.first.statistics == statistics.first
    assert found.second.statistics.survivors == statistics.second.survivors


def test_a_block_worked_out_by_hand() -> None:
    # As in test_blocks: the first masks are right, and of the second ones channel 0 is dropped at pixel 1, where z2 = 347.
    # All contributions are in units of 2**14 / 2**20 = 1 / 64.
    block, spec, x = hand_worked()
    found = BlockInspection()
    inspect_block(block, spec, found, x[..., None])
    assert found.second is not None
    assert decisions(found.first) == (2, 0, 0, 2)
    assert weights(found.first) == (3 * 3 * 170 / 64 + 64 * 5 * 112 / 64, 0, 0)
    assert decisions(found.second) == (2, 0, 1, 1)
    assert weights(found.second) == (3 * 517 / 64 + 560, 0, 3 * 347 / 64)
    assert found.second.weight.false_negative_share == pytest.approx(1041 / (1551 + 35840 + 1041))
    assert found.second.weight.false_positive_share == 0
    assert found.first.survivors.tolist() == found.second.survivors.tolist() == [[[0.5, 0.5]]]


@pytest.mark.parametrize("shuffled", [False, True])
def test_pairs_equal_the_definitions_read_aloud(shuffled: bool) -> None:
    spec = PointwisePairSpec(
        kind="pointwise_pair", in_channels=6, expanded_channels=12, out_channels=6, stride=1, groups=3, inner_shuffle=shuffled
    )
    rng = np.random.default_rng(5)
    pair = PointwisePair(
        expand_weight=rng.integers(-15, 16, (12, 2)).astype(np.int8),
        expand_bias=rng.integers(-300, 300, 12).astype(np.int32),
        project_weight=rng.integers(-60, 61, (6, 4)).astype(np.int32),
        requantization=Requantization(
            np.zeros(6, dtype=np.int32), rng.integers(1 << 14, 1 << 15, 6).astype(np.int32), np.arange(18, 24, dtype=np.int8)
        ),
        predictor_expand_weight=rng.integers(-1, 2, (12, 2)).astype(np.int8),
        predictor_expand_threshold=rng.integers(-5, 6, 12).astype(np.int32),
    )
    batch = random_activation((6, 3, 4, IMAGES), 9)
    relu, r = Literal((IMAGES, 3, 4)), factors(pair.requantization)
    for e, row, column, image in np.ndindex(12, 3, 4, IMAGES):
        values = [int(value) for value in batch[e // 4 * 2 : e // 4 * 2 + 2, row, column, image]]
        x4 = [min(7, max(-8, (abs(v) + 8) // 16 * (1 if v >= 0 else -1))) for v in values]
        mask = (
            sum(int(w) * v for w, v in zip(pair.predictor_expand_weight[e], x4, strict=True))
            > pair.predictor_expand_threshold[e]
        )
        z1 = sum(int(w) * v for w, v in zip(pair.expand_weight[e], values, strict=True)) + int(pair.expand_bias[e])
        place = e % 4 * 3 + e // 4 if shuffled else e
        reach = sum(abs(r[k] * int(pair.project_weight[k, place % 4])) for k in range(place // 4 * 2, place // 4 * 2 + 2))
        relu.add_decision(bool(mask), z1 > 0)
        relu.add_weight(bool(mask), z1, reach * abs(z1))
        relu.map[image, row, column] += mask / 12
    found = BlockInspection()
    inspect_pair(pair, spec, found, batch)
    assert found.second is None
    relu.check(found.first)


def test_nothing_that_contributes_has_no_shares() -> None:
    spec = BlockSpec(
        in_channels=2, expanded_channels=4, out_channels=2, kernel=3, stride=1, groups=1, residual=False, shuffle=False
    )
    found = BlockInspection()
    inspect_block(random_block(spec, 1, 1.0, ("none", "none")), spec, found, random_activation((2, 3, 3, 1), 1))
    assert (found.first.weight.false_positive_share, found.first.weight.false_negative_share) == (0, 0)


def test_whole_networks_do_not_depend_on_the_batch() -> None:
    network = random_network(kinds_spec(), 4, Survivors(0.5, 0.5), images()).network
    layers: list[str] = []
    whole = run(network, images(3), inspect=True, batch=3)
    single = run(network, images(3), inspect=True, batch=1, on_layer=layers.append)
    assert list(whole.inspections) == list(whole.statistics) == ["block 4 pair", "block 5 pair", "block 6 pair"]
    assert layers == 3 * [layer.name for layer in network.spec.layers[1:-1]]
    for name, found in whole.inspections.items():
        assert found.first.statistics == whole.statistics[name].first
        assert weights(found.first) == pytest.approx(weights(single.inspections[name].first))
        np.testing.assert_array_equal(found.first.survivors, single.inspections[name].first.survivors)
        assert found.first.survivors.mean() == pytest.approx(whole.statistics[name].first.survivor_share)
    assert not run(network, images(1)).inspections
