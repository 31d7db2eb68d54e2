"""BatchNorm in training: a batch's own statistics normalise it, and the moving ones follow them, in predictors, too."""

from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from sw.networks.layers import Depthwise, MaskedLayer, Pointwise, Stem
from sw.networks.predictor import Predictor, ternarize
from sw.networks.test_networks import RESIDUAL, images, randomise

KEPT = 0.9
"""Of the moving statistics, at each step."""
LAYERS: dict[str, Callable[[], MaskedLayer]] = {
    "widening": lambda: Pointwise(8, 24, 4, "layer"),
    "narrowing": lambda: Pointwise(8, 4, 4, "layer"),
    "depthwise": lambda: Depthwise(8, 3, 1, "layer"),
    "strided": lambda: Depthwise(8, 3, 2, "layer"),
    "stem": lambda: Stem(8, 6, 3, 2, "layer"),
}


def moving(layer: MaskedLayer) -> np.ndarray:
    """Mean and variance [2, channels]."""
    return np.stack([ops.convert_to_numpy(layer.norm.moving_mean), ops.convert_to_numpy(layer.norm.moving_variance)])


def statistics(sums: np.ndarray) -> np.ndarray:
    return np.stack([sums.mean((0, 1, 2)), sums.var((0, 1, 2))])


def sums_of(layer: MaskedLayer, x: np.ndarray) -> np.ndarray:
    """What a layer gives before its BatchNorm, from what it gives behind it."""
    scale, offset = (ops.convert_to_numpy(tensor) for tensor in layer.norm.folded())
    return np.asarray((ops.convert_to_numpy(layer(x)) - offset) / scale)


@pytest.mark.parametrize("name", LAYERS)
def test_moving_statistics_follow_those_of_the_batch(name: str) -> None:
    layer = LAYERS[name]()
    randomise(layer, 3)
    x = images(4, 6, 6, 8) + 0.5
    before, found = moving(layer), statistics(sums_of(layer, x))
    layer(x)
    np.testing.assert_array_equal(moving(layer), before)
    out = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(moving(layer), KEPT * before + (1 - KEPT) * found, rtol=1e-3, atol=1e-3)
    gamma, beta = (np.abs(ops.convert_to_numpy(tensor)) for tensor in (layer.norm.gamma, layer.norm.beta))
    expected = np.stack([beta, gamma**2 * found[1] / (found[1] + 1e-3)])
    np.testing.assert_allclose(np.abs(statistics(out)), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_frozen_layers_are_those_of_inference_in_training(name: str) -> None:
    layer = LAYERS[name]()
    randomise(layer, 4)
    x = images(4, 6, 6, 8)
    layer.norm.freeze()
    before, expected = moving(layer), layer(x)
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(moving(layer), before)


def test_statistics_of_predictors_are_those_of_ternary_weights_and_rounded_inputs() -> None:
    predictor, x = Predictor(RESIDUAL, "block"), images(4, 6, 6, 8) + 0.1
    for index, layer in enumerate(predictor.masked_layers()):
        randomise(layer, index)
    predictor.input_scale.assign(0.02)
    signs, alpha = ternarize(predictor.expand.masked())
    x4 = np.clip(np.rint(x / 0.32), -8, 7).astype(np.float32)
    sums = ops.convert_to_numpy(ops.matmul(0.32 * x4, predictor.expand.matrix(alpha * signs)))
    before = [moving(layer) for layer in predictor.masked_layers()]
    levels, _ = predictor(x, training=True)
    signs, alpha = ternarize(predictor.depthwise.masked())
    filtered = ops.convert_to_numpy(predictor.depthwise.convolve(levels, alpha * signs))
    for layer, old, found in zip(predictor.masked_layers(), before, (sums, filtered), strict=True):
        np.testing.assert_allclose(moving(layer), KEPT * old + (1 - KEPT) * statistics(found), rtol=1e-2, atol=1e-2)
