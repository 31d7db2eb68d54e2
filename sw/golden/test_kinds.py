"""Blocks of other kinds than fused ones: written out with loops, both modes, and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract import numerics
from sw.bundle.blocks import PointwisePair, PointwisePairBlock, UnfusedBlock, pair_as_block, pair_inputs
from sw.bundle.network import DenseLayer, IntegerNetwork, Requantization
from sw.export.random_network import Survivors, random_network
from sw.golden import BlockStatistics, NetworkRun, dense, fixed_multiplications, layer_costs, run
from sw.golden.pair import run_pair, run_pair_layerwise
from sw.spec import NetworkSpec, PointwisePairSpec, parse_spec

UNFUSED = {"kind": "unfused", "kernel": 3, "groups": 3, "inner_shuffle": True, "output_relu": True, "shuffle": True}
PAIR = {"kind": "pointwise_pair", "kernel": 3, "groups": 3, "inner_shuffle": True}
BLOCKS = [
    {**UNFUSED, "in_channels": 6, "expanded_channels": 6, "out_channels": 6, "stride": 1, "expand": False,
     "inner_shuffle": False, "output_relu": False},
    {**UNFUSED, "in_channels": 6, "expanded_channels": 12, "out_channels": 6, "stride": 1, "residual": True},
    {**UNFUSED, "in_channels": 6, "expanded_channels": 12, "out_channels": 15, "stride": 2, "average_pool_shortcut": True,
     "kernel": 5},
    {**PAIR, "in_channels": 15, "expanded_channels": 21, "out_channels": 15, "stride": 1, "residual": True, "kernel": 5},
    {**PAIR, "in_channels": 15, "expanded_channels": 24, "out_channels": 24, "stride": 2, "average_pool_shortcut": True},
    {**PAIR, "in_channels": 24, "expanded_channels": 24, "out_channels": 12, "stride": 1, "inner_shuffle": False},
]  # fmt: skip
HEIGHT, WIDTH, IMAGES = 11, 8, 2


def kinds_spec() -> NetworkSpec:
    return parse_spec({
        "name": "kinds", "height": HEIGHT, "width": WIDTH, "channels": 3, "classes": 4, "blocks": BLOCKS,
        "stem": {"channels": 6, "kernel": 3, "stride": 1}, "last_pointwise": {"channels": 8, "groups": 2},
        "sparsity": {"pointwise": 0.4, "depthwise": 0.2},
    })  # fmt: skip


def images(count: int = IMAGES) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(kinds_spec(), 4, Survivors(0.5, 0.5), images()).network


@pytest.fixture(scope="module")
def result(network: IntegerNetwork) -> NetworkRun:
    return run(network, images(), "fused", keep_activations=True)


def requantized(sums: np.ndarray, parts: Requantization, *, relu: bool) -> np.ndarray:
    biased = sums + parts.bias.astype(np.int64)[:, None, None]
    out = numerics.requantize(biased, parts.multiplier[:, None, None], parts.shift[:, None, None])
    return np.maximum(out, 0) if relu else out


def pointwise(layer: DenseLayer, x: np.ndarray, groups: int, *, relu: bool, shuffle: bool) -> np.ndarray:
    channels, inputs = layer.weight.shape
    sums = np.zeros((channels, *x.shape[1:]), dtype=np.int64)
    for k, c in np.ndindex(channels, inputs):
        sums[k] += int(layer.weight[k, c]) * x[k // (channels // groups) * inputs + c].astype(np.int64)
    out = requantized(sums, layer.requantization, relu=relu)
    return out[[place % groups * (channels // groups) + place // groups for place in range(channels)]] if shuffle else out


def depthwise(layer: DenseLayer, x: np.ndarray, stride: int, *, relu: bool) -> np.ndarray:
    height, width = x.shape[1:]
    sums = np.zeros((len(x), -(-height // stride), -(-width // stride)), dtype=np.int64)
    kernel = layer.weight.shape[-1]
    for channel, row, column, dy, dx in np.ndindex(*sums.shape, kernel, kernel):
        y, z = stride * row + dy - kernel // 2, stride * column + dx - kernel // 2
        if 0 <= y < height and 0 <= z < width:
            sums[channel, row, column] += int(layer.weight[channel, dy, dx]) * int(x[channel, y, z])
    return requantized(sums, layer.requantization, relu=relu)


def average(parts: Requantization, x: np.ndarray, stride: int, *, relu: bool) -> np.ndarray:
    return depthwise(DenseLayer(np.ones((len(x), 3, 3), np.int8), parts), x, stride, relu=relu)


def added(out: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.clip(out + x.astype(np.int64), -128, 127)


def written_out(network: IntegerNetwork, activations: dict[str, np.ndarray], image: int) -> dict[str, np.ndarray]:
    """The outputs of the six blocks' last layers, each block from what the golden model says was its input."""
    first, second, third, fourth, fifth, _ = network.blocks
    of = {name: tensor[image] for name, tensor in activations.items()}
    assert isinstance(first, UnfusedBlock)
    assert isinstance(second, UnfusedBlock)
    assert isinstance(third, UnfusedBlock)
    assert isinstance(fourth, PointwisePairBlock)
    assert isinstance(fifth, PointwisePairBlock)
    assert second.expand is not None
    assert third.expand is not None
    assert third.shortcut is not None
    assert fifth.shortcut is not None
    out = {"block 1 project": pointwise(first.project, depthwise(first.depthwise, of["stem"], 1, relu=True), 3, relu=False,
                                        shuffle=True)}  # fmt: skip
    x = of["block 1 project"]
    inner = depthwise(second.depthwise, pointwise(second.expand, x, 3, relu=True, shuffle=True), 1, relu=True)
    out["block 2 relu"] = np.maximum(0, added(pointwise(second.project, inner, 3, relu=False, shuffle=True), x))
    x = of["block 2 relu"]
    out["block 3 shortcut"] = average(third.shortcut, x, 2, relu=True)
    inner = depthwise(third.depthwise, pointwise(third.expand, x, 3, relu=True, shuffle=True), 2, relu=True)
    out["block 3 project"] = pointwise(third.project, inner, 3, relu=True, shuffle=True)
    x = np.concatenate([of["block 3 shortcut"], of["block 3 project"]])
    out["block 4 depthwise"] = added(depthwise(fourth.depthwise, of["block 4 pair"], 1, relu=False), x)
    x = of["block 4 depthwise"]
    out["block 5 shortcut"] = average(fifth.shortcut, x, 2, relu=False)
    out["block 5 depthwise"] = depthwise(fifth.depthwise, of["block 5 pair"], 2, relu=False)
    return out


def test_blocks_written_out(network: IntegerNetwork, result: NetworkRun) -> None:
    for image in range(IMAGES):
        for name, expected in written_out(network, result.activations, image).items():
            np.testing.assert_array_equal(result.activations[name][image], expected, err_msg=name)
            assert len(np.unique(expected)) > 10, f"{name} says little"


def test_both_modes_give_the_same_integers(network: IntegerNetwork, result: NetworkRun) -> None:
    layered = run(network, images(), keep_activations=True)
    assert list(result.activations) == [layer.name for layer in network.spec.layers[1:-1]]
    for name, activations in result.activations.items():
        np.testing.assert_array_equal(activations, layered.activations[name], err_msg=name)
    np.testing.assert_array_equal(result.logits, layered.logits)
    assert list(result.counts) == ["block 4 pair", "block 5 pair", "block 6 pair"]


def pair_written_out(pair: PointwisePair, spec: PointwisePairSpec, x: np.ndarray) -> np.ndarray:
    """(K, pixels) of x (C, pixels), loop by loop."""
    groups, expanded = spec.groups, spec.expanded_channels
    inputs, width = spec.in_channels // groups, expanded // groups
    a1 = np.zeros((expanded, x.shape[1]), dtype=np.int64)
    x4 = np.clip(np.sign(x) * ((np.abs(x.astype(np.int64)) + 8) >> 4), -8, 7)
    for e in range(expanded):
        own = slice(e // width * inputs, e // width * inputs + inputs)
        survives = pair.predictor_expand_weight[e].astype(np.int64) @ x4[own] > pair.predictor_expand_threshold[e]
        z1 = pair.expand_weight[e].astype(np.int64) @ x[own].astype(np.int64) + int(pair.expand_bias[e])
        place = e % width * groups + e // width if spec.inner_shuffle else e
        a1[place] = np.where(survives, z1, 0)
    y = np.zeros((spec.own_channels, x.shape[1]), dtype=np.int64)
    for k in range(spec.own_channels):
        group = k // (spec.own_channels // groups)
        y[k] = pair.project_weight[k].astype(np.int64) @ a1[group * width : (group + 1) * width]
    return requantized(y[:, None], pair.requantization, relu=True)[:, 0]


def drawn_pair(spec: PointwisePairSpec, seed: int) -> PointwisePair:
    random = np.random.default_rng(seed)
    expanded, inputs, outputs = spec.expanded_channels, spec.in_channels // spec.groups, spec.own_channels

    def some(shape: tuple[int, ...], high: int) -> Any:
        return random.integers(-high, high + 1, shape) * (random.random(shape) < 0.6)

    return PointwisePair(
        expand_weight=some((expanded, inputs), 15).astype(np.int8),
        expand_bias=some((expanded,), 2000).astype(np.int32),
        project_weight=some((outputs, expanded // spec.groups), 127).astype(np.int32),
        requantization=Requantization(
            some((outputs,), 10**5).astype(np.int32),
            random.integers(1 << 14, 1 << 15, outputs).astype(np.int32),
            np.full(outputs, 26, dtype=np.int8),
        ),
        predictor_expand_weight=some((expanded, inputs), 1).astype(np.int8),
        predictor_expand_threshold=random.integers(-9, 9, expanded).astype(np.int32),
    )


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 4), inputs=st.integers(1, 4), expanded=st.integers(1, 7), outputs=st.integers(1, 3),
    shuffled=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_pairs_written_out(groups: int, inputs: int, expanded: int, outputs: int, shuffled: bool, seed: int) -> None:
    spec = PointwisePairSpec(
        kind="pointwise_pair", in_channels=groups * inputs, expanded_channels=groups * expanded, out_channels=groups * outputs,
        kernel=3, stride=1, groups=groups, inner_shuffle=shuffled,
    )  # fmt: skip
    pair = drawn_pair(spec, seed)
    x = np.random.default_rng(seed).integers(-128, 128, (spec.in_channels, 3, 4)).astype(np.int8)
    expected = pair_written_out(pair, spec, x.reshape(len(x), -1)).reshape(-1, 3, 4)
    fused, counts = run_pair(pair, spec, x)
    np.testing.assert_array_equal(fused, expected)
    np.testing.assert_array_equal(run_pair_layerwise(pair, spec, x[..., None])[..., 0], expected)
    block, shape = pair_as_block(pair, spec)
    assert shape.in_channels == pair_inputs(spec) * spec.in_channels
    assert np.count_nonzero(block.expand_weight) == np.count_nonzero(pair.expand_weight)
    assert counts.multiplications <= x[0].size * spec.own_channels * spec.in_channels


def test_the_second_relu_of_a_pair_is_exact(network: IntegerNetwork, result: NetworkRun) -> None:
    for name in result.counts:
        second = result.statistics[name].second
        assert second.agreement == 1
        assert second.survivors >= np.count_nonzero(result.activations[name])
    statistics = BlockStatistics()
    spec, block = network.spec.blocks[3], network.blocks[3]
    assert isinstance(spec, PointwisePairSpec)
    assert isinstance(block, PointwisePairBlock)
    run_pair_layerwise(block.pair, spec, np.zeros((15, 2, 2, 1), np.int8), statistics)
    assert statistics.first.decisions == 21 * 4
    assert statistics.second.decisions == 15 * 4


def test_an_average_counts_what_lies_outside_as_zero() -> None:
    ninth = numerics.quantize_multiplier(1 / 9)
    parts = Requantization(
        *(np.full(1, value, dtype) for value, dtype in zip((0, *ninth), (np.int32, np.int32, np.int8), strict=True))
    )
    x = np.full((1, 5, 4, 1), 90, dtype=np.int8)
    assert dense.average_pool(parts, x, 2)[0, ..., 0].tolist() == [[40, 60], [60, 90], [40, 60]]
    assert dense.average_pool(parts, -x, 2, relu=True).max() == 0


def test_costs_and_multiplications_by_hand(network: IntegerNetwork) -> None:
    costs, fixed = {cost.name: cost for cost in layer_costs(network)}, fixed_multiplications(network)
    assert list(costs) == [layer.name for layer in network.spec.layers]
    assert sum(cost.multiplications_dense for cost in costs.values()) == network.spec.multiply_accumulates()
    third, fourth = network.blocks[2:4]
    assert isinstance(third, UnfusedBlock)
    assert isinstance(fourth, PointwisePairBlock)
    pair = fourth.pair
    weights = np.count_nonzero(pair.expand_weight) + np.count_nonzero(pair.project_weight)
    assert costs["block 4 pair"].multiplications_pruned == weights * 6 * 4
    assert costs["block 4 pair"].kind == "fused pointwise pair"
    assert set(costs) - set(fixed) == {"block 4 pair", "block 5 pair", "block 6 pair"}
    assert fixed["block 2 relu"] == 6 * 88
    # Stride 2 on 11 x 8 pixels: six rows, of which the first and last one have a tap row outside; four columns, the first one.
    assert fixed["block 3 shortcut"] == 6 * (6 * 3 - 2) * (4 * 3 - 1)
    expected = 0
    for row, column, dy, dx in np.ndindex(6, 4, 5, 5):
        if 0 <= 2 * row + dy - 2 < 11 and 0 <= 2 * column + dx - 2 < 8:
            expected += int(np.count_nonzero(third.depthwise.weight[:, dy, dx]))
    assert fixed["block 3 depthwise"] == expected
    assert fixed["block 3 project"] == np.count_nonzero(third.project.weight) * 24
