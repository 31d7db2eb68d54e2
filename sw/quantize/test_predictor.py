"""Integer predictors decide as the float ones for every reachable sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.quantize.precision import Precision
from sw.quantize.predictor import TernaryLayer, constant_channels, level_shifts, quantize_expand, quantize_predictor
from sw.quantize.test_value_path import make_path

EMPTY = TernaryLayer(np.zeros((1, 3, 3), dtype=np.int64), 1.0, np.ones(1), np.zeros(1))


@settings(max_examples=200, deadline=None)
@given(
    signs=st.lists(st.integers(-1, 1), min_size=1, max_size=6),
    unit=st.floats(0.01, 2.0),
    scale=st.one_of(st.just(0.0), st.floats(0.01, 100.0), st.floats(-100.0, -0.01)),
    offset=st.floats(-3000.0, 3000.0),
    shift=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_first_layer_decides_and_levels_as_in_training(
    signs: list[int], unit: float, scale: float, offset: float, shift: int, seed: int
) -> None:
    layer = TernaryLayer(np.array([signs]), unit, np.array([scale]), np.array([offset]))
    integers = quantize_predictor(layer, EMPTY, np.array([shift]))
    inputs = np.random.default_rng(seed).integers(-8, 8, (50, len(signs)))
    for x in inputs:
        pre_activation = scale * unit * int(np.dot(signs, x)) + offset
        excess = int(integers.expand_weight[0] @ x) - int(integers.expand_threshold[0])
        got = int(numerics.predictor_level(excess, shift))
        if abs(pre_activation) < 1e-6:
            continue
        assert (got > 0) == (pre_activation > 0)
        if scale == 0:
            continue
        real = pre_activation / (abs(scale) * unit)
        nearest = real / 2**shift
        if abs(nearest - round(nearest)) > 1e-6:
            assert got == min(15, max(0, math.ceil(nearest)))


@settings(max_examples=100, deadline=None)
@given(
    scale=st.one_of(st.just(0.0), st.floats(0.01, 100.0), st.floats(-100.0, -0.01)),
    offset=st.floats(-3000.0, 3000.0),
    seed=st.integers(0, 2**16),
)
def test_second_layer_decides_as_in_training(scale: float, offset: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    layer = TernaryLayer(random.integers(-1, 2, (1, 3, 3)), 0.3, np.array([scale]), np.array([offset]))
    expand = TernaryLayer(np.ones((1, 1), dtype=np.int64), 1.0, np.ones(1), np.zeros(1))
    integers = quantize_predictor(expand, layer, np.array([0]))
    for levels in (*random.integers(0, 16, (50, 3, 3)), np.zeros((3, 3), int), np.full((3, 3), 15)):
        pre_activation = scale * 0.3 * int((layer.signs[0] * levels).sum()) + offset
        if abs(pre_activation) > 1e-6:
            got = int((integers.depthwise_weight[0] * levels).sum()) > integers.depthwise_threshold[0]
            assert got == (pre_activation > 0)


def test_thresholds_stay_just_beyond_reach() -> None:
    signs = np.array([[1, -1, 0], [1, 1, 1]])
    layer = TernaryLayer(signs, 1.0, np.ones(2), np.array([-1e9, 1e9]))
    windows = TernaryLayer(np.ones((2, 3, 3), dtype=np.int64), 1.0, np.ones(2), np.array([-1e9, 1e9]))
    integers = quantize_predictor(layer, windows, np.array([0, 2]))
    assert integers.expand_threshold.tolist() == [16, -24 - 60]
    assert integers.depthwise_threshold.tolist() == [135, -1]


def test_channels_that_batchnorm_makes_flat_survive_by_their_offset() -> None:
    layer = TernaryLayer(np.ones((3, 2), dtype=np.int64), 1.0, np.zeros(3), np.array([-1e-3, 0.0, 1e-3]))
    signs, threshold = quantize_expand(layer)
    sums = signs @ np.array([[-8, 0, 7], [-8, 0, 7]])
    assert (sums > threshold[:, None]).tolist() == [[False] * 3, [False] * 3, [True] * 3]


def test_a_reachable_threshold_beyond_the_width_is_refused() -> None:
    layer = TernaryLayer(np.ones((1, 24), dtype=np.int64), 1.0, np.ones(1), np.array([-150.0]))
    with pytest.raises(ArchonError, match="predictor_expand_threshold: channel 0 holds 150, which needs 9 bits, got 8"):
        quantize_predictor(layer, EMPTY, np.array([0]), Precision(Widths(predictor_sum=8)))


def test_constant_channels_add_what_the_literal_sum_says() -> None:
    path = make_path(seed=11)
    random = np.random.default_rng(12)
    channels = len(path.expand_weight)
    signs = np.sign(path.expand_weight).astype(np.int64)
    signs[np.flatnonzero(~signs.any(axis=1))[:5], 0] = 1  # these are not constant: whether they survive depends on the image
    first = TernaryLayer(signs, 1.0, np.ones(channels), random.normal(size=channels) * 4)
    second = TernaryLayer(random.integers(-1, 2, (channels, 3, 3)), 1.0, np.ones(channels), random.normal(size=channels))
    predictor = quantize_predictor(first, second, np.zeros(channels, dtype=np.int64))
    expected, dead = np.zeros(len(path.project_weight)), 0
    for k in range(len(path.project_weight)):
        for index in range(48):
            e = k // 8 * 48 + index
            if path.expand_weight[e].any() or signs[e].any():
                continue
            dead += int(k % 8 == 0 and path.project_weight[k // 8 * 8 : k // 8 * 8 + 8, index].any())
            level = min(15, max(0, -int(predictor.expand_threshold[e])))
            z2 = path.depthwise_bias[e] + (level > 0) * path.expand_bias[e] * path.depthwise_weight[e].sum()
            survives = level * predictor.depthwise_weight[e].sum() > predictor.depthwise_threshold[e]
            expected[k] += path.project_weight[k, index] * z2 * survives
    got = constant_channels(path, predictor)
    np.testing.assert_allclose(got.bias, expected, atol=1e-12)
    assert got.exact + got.interior == dead > 0
    assert got.bias.any()


def test_level_shifts_reach_the_excess() -> None:
    assert level_shifts(np.array([-5, 15, 16, 60, 61, 10_000]), 3).tolist() == [0, 0, 1, 2, 3, 3]
