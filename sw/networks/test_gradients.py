"""The straight-through gradients of predictors over a frozen value path, against derivatives worked out in numpy.

Images have one pixel, so that the middle of a 3x3 window is all of a depthwise layer; BatchNorms keep their statistics.
"""

from typing import Any

import numpy as np
import pytest
from keras import ops

from sw.networks.block import Block
from sw.networks.layers import MaskedLayer
from sw.networks.limits import GATE_SLOPE, SURVIVOR_STRIDE, Survivors
from sw.networks.network import make_block
from sw.networks.test_networks import changes, randomise
from sw.spec import BlockSpec, PointwisePairSpec

SIZES: dict[str, Any] = {"in_channels": 3, "expanded_channels": 16, "out_channels": 4, "kernel": 3, "stride": 1, "groups": 1}
FUSED = BlockSpec(**SIZES, residual=False, shuffle=False)
PAIR = PointwisePairSpec(kind="pointwise_pair", **SIZES, residual=False)
INPUT_SCALE = 0.02
UNIT = 16 * INPUT_SCALE
"""Of a predictor's input."""
EPSILON = 1e-3
"""Of BatchNorm."""


def frozen(spec: BlockSpec | PointwisePairSpec, seed: int) -> tuple[Block, np.ndarray]:
    """A block whose value path is frozen, and inputs [N, C] that 4 bits hold exactly."""
    block = make_block(spec, "block", predicted=True)
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, 10 * seed + index)
    block.predictor.input_scale.assign(INPUT_SCALE)
    block.freeze_value_path()
    levels = np.random.default_rng(seed).integers(-8, 8, (40, spec.in_channels))
    return block, (UNIT * levels).astype(np.float32)


def parts(layer: MaskedLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masked weight, and BatchNorm's scale and offset."""
    weight = ops.convert_to_numpy(layer.masked()).astype(np.float64)
    norm, to_numpy = layer.norm, ops.convert_to_numpy
    gamma, beta = to_numpy(norm.gamma), to_numpy(norm.beta)
    mean, variance = to_numpy(norm.moving_mean), to_numpy(norm.moving_variance)
    scale = gamma / np.sqrt(variance + EPSILON)
    return weight, scale, beta - mean * scale


def ternary(weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Signs, and the mean magnitude of what is above 0.7 of all weights' mean magnitude."""
    magnitude = np.abs(weight)
    kept = magnitude > 0.7 * magnitude.mean()
    return np.sign(weight) * kept, float(magnitude[kept].mean())


def run(block: Block, x: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the mean of squares of the output."""
    found = changes(block, x[:, None, None, :], settled=True)
    return {name.removeprefix("block."): -change for name, change in found.items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_of_a_fused_block_by_hand(seed: int) -> None:
    block, x = frozen(FUSED, seed)
    shift = np.arange(16) % 4
    block.predictor.shift.assign(shift)
    w1, k1, b1 = parts(block.predictor.expand)
    wd, kd, bd = parts(block.predictor.depthwise)
    signs, alpha = ternary(w1)
    level = np.abs(k1) * alpha * UNIT * 2.0**shift
    u = (x @ (alpha * signs).T * k1 + b1) / level
    r1 = np.where(u > 0, np.minimum(15, np.ceil(u)), 0)
    signs, alpha = ternary(wd)
    wd = (alpha * signs)[:, 1, 1]
    s2 = r1 * wd * kd + bd
    v1, c1, d1 = parts(block.expand)
    v2, c2, d2 = parts(block.depthwise)
    v3, c3, d3 = parts(block.project)
    z2 = np.where(r1 > 0, x @ v1.T * c1 + d1, 0) * v2[:, 1, 1] * c2 + d2
    y = np.where(s2 > 0, z2, 0) @ v3.T * c3 + d3
    np.testing.assert_allclose(block(x[:, None, None, :])[:, 0, 0], y, rtol=1e-3, atol=1e-3)
    # Backward as if relu(s2) were the activation; rounding, clipping within its range, and ternarising are identities.
    ds2 = 2 * y / y.size * c3 @ v3 * (s2 > 0)
    du = ds2 * wd * kd * ((u > 0) & (u < 15))
    assert 0 < (s2 > 0).mean() < 1
    assert (u > 15).any()
    found = run(block, x)
    mask = ops.convert_to_numpy(block.predictor.expand.mask)
    np.testing.assert_allclose(found["predictor_expand"], du.T @ x * (k1 / level)[:, None] * mask, rtol=1e-3, atol=1e-5)
    middle = (ds2 * r1).sum(0) * kd * ops.convert_to_numpy(block.predictor.depthwise.mask)[:, 1, 1]
    np.testing.assert_allclose(found["predictor_depthwise"][:, 1, 1], middle, rtol=1e-3, atol=1e-5)
    assert np.abs(middle).max() > 0.01
    for name in ("expand", "depthwise", "project"):
        assert not found[name].any()


@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_of_a_pair_by_hand(seed: int) -> None:
    block, x = frozen(PAIR, seed)
    w1, k1, b1 = parts(block.predictor.expand)
    signs, alpha = ternary(w1)
    s1 = x @ (alpha * signs).T * k1 + b1
    v1, c1, d1 = parts(block.expand)
    v2, c2, d2 = parts(block.project)
    v3, c3, d3 = parts(block.depthwise)
    z2 = np.where(s1 > 0, x @ v1.T * c1 + d1, 0) @ v2.T * c2 + d2
    y = np.maximum(z2, 0) * v3[:, 1, 1] * c3 + d3
    np.testing.assert_allclose(block(x[:, None, None, :])[:, 0, 0], y, rtol=1e-3, atol=1e-3)
    # Backward as if relu(s1) were the activation; the second ReLU is exact.
    dz2 = 2 * y / y.size * v3[:, 1, 1] * c3 * (z2 > 0)
    ds1 = dz2 * c2 @ v2 * (s1 > 0)
    expected = ds1.T @ x * k1[:, None] * ops.convert_to_numpy(block.predictor.expand.mask)
    assert 0 < (s1 > 0).mean() < 1
    assert np.abs(expected).max() > 0.01
    found = run(block, x)
    np.testing.assert_allclose(found["predictor_expand"], expected, rtol=1e-3, atol=1e-5)
    for name in ("expand", "project", "depthwise"):
        assert not found[name].any()


def test_gradient_of_the_survivors_beyond_the_limit_by_hand() -> None:
    block = make_block(FUSED, "block")
    for index, layer in enumerate(block.value_layers()):
        randomise(layer, index)
        layer.norm.freeze()
    block.project.weight.assign(np.zeros(block.project.weight.shape))  # so that the output has no gradient
    block.limit_to(Survivors(first=0.1, second=1.0, weight=3.0))
    x = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    w1, k1, b1 = parts(block.expand)
    looked_at = x[::SURVIVOR_STRIDE]
    z1 = looked_at @ w1.T * k1 + b1
    assert (z1 > 0).mean() > 0.1
    # The share is the mean of steps, with the gradients of sigmoids of this slope.
    sigmoid = 1 / (1 + np.exp(-GATE_SLOPE * z1))
    dz1 = 3.0 * GATE_SLOPE * sigmoid * (1 - sigmoid) / z1.size
    found = changes(block, x[:, None, None, :])
    mask = ops.convert_to_numpy(block.expand.mask)
    np.testing.assert_allclose(-found["block.expand"], dz1.T @ looked_at * k1[:, None] * mask, rtol=1e-3, atol=1e-6)
    assert not found["block.depthwise"].any()
