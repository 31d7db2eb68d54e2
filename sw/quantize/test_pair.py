"""Pairs of pointwise layers in integers against the float pair, with channels that have no weights."""

import numpy as np
import pytest

from sw.golden.pair import run_pair_layerwise
from sw.quantize.pair import (
    PairPath,
    constant_pair_channels,
    fake_quantize_pair,
    integer_pair,
    quantize_pair_path,
    with_constants,
)
from sw.spec import PointwisePairSpec

INPUT_SCALE, OUTPUT_SCALE = 0.03, 0.05


def drawn(shuffled: bool) -> tuple[PointwisePairSpec, PairPath, np.ndarray, np.ndarray]:
    """A pair, its predictor's signs and thresholds; a third of the expanded channels have no weights."""
    random = np.random.default_rng(3)
    spec = PointwisePairSpec(
        kind="pointwise_pair", in_channels=6, expanded_channels=24, out_channels=9, stride=1, groups=3, inner_shuffle=shuffled
    )
    first = random.normal(size=(24, 2)) * (np.arange(24) % 3 > 0)[:, None]
    path = PairPath(first, random.normal(size=24), random.normal(size=(9, 8)), random.normal(size=9))
    return spec, path, np.sign(first).astype(np.int64), random.integers(-6, 4, 24)


def grouped(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    inputs, outputs = weight.shape[1], len(weight) // groups
    parts = [x[..., g * inputs : (g + 1) * inputs] @ weight[g * outputs : (g + 1) * outputs].T for g in range(groups)]
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_integers_follow_the_float_pair(shuffled: bool) -> None:
    spec, path, signs, threshold = drawn(shuffled)
    x = np.random.default_rng(4).integers(-128, 128, (1, 5, 4, 6)).astype(np.int8)
    survives = grouped(np.clip(np.rint(x / 16 + np.copysign(1e-9, x)), -8, 7), signs, 3) > threshold
    a1 = (grouped(x * INPUT_SCALE, path.expand_weight, 3) + path.expand_bias) * survives
    if shuffled:
        a1 = a1.reshape(1, 5, 4, 3, 8).swapaxes(-1, -2).reshape(1, 5, 4, 24)
    expected = np.maximum(grouped(a1, path.project_weight, 3) + path.project_bias, 0)
    constants = constant_pair_channels(spec, path, signs, threshold)
    assert constants.exact == 8
    assert np.abs(constants.bias).max() > 0.5
    quantized = quantize_pair_path(spec, with_constants(path, constants), INPUT_SCALE)
    pair = integer_pair("pair", spec, quantized, signs, threshold, OUTPUT_SCALE)
    got = run_pair_layerwise(pair, spec, x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0) * OUTPUT_SCALE
    inside = expected < 120 * OUTPUT_SCALE
    assert inside.mean() > 0.5
    assert np.corrcoef(got[inside], expected[inside])[0, 1] > 0.995
    assert abs((got - expected)[inside].mean()) < OUTPUT_SCALE


@pytest.mark.parametrize("shuffled", [False, True])
def test_quantised_floats_are_near_the_trained_ones(shuffled: bool) -> None:
    spec, path, _, _ = drawn(shuffled)
    near = fake_quantize_pair(spec, path, INPUT_SCALE)
    assert not near.expand_weight[::3].any()
    np.testing.assert_allclose(near.expand_weight, path.expand_weight, atol=np.abs(path.expand_weight).max() / 15)
    alive = np.arange(24) % 3 > 0
    np.testing.assert_allclose(near.expand_bias[alive], path.expand_bias[alive], atol=0.1)
    columns = np.abs(near.project_weight) > 0
    assert columns.any()
    np.testing.assert_allclose(near.project_weight[columns], path.project_weight[columns], rtol=0.3, atol=0.1)
