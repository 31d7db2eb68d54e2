"""Layers and networks against formulas written out, and the predictor's integers against the hardware's contract."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.networks.block import Block
from sw.networks.fused import FusedBlock
from sw.networks.layers import Depthwise, Pointwise, Stem, shuffle_channels
from sw.networks.limits import Survivors
from sw.networks.network import Network
from sw.networks.predictor import Predictor, ternarize, to_predictor_input
from sw.networks.rounding import round_half_away
from sw.spec import BlockSpec, NetworkSpec, parse_spec

RESIDUAL = BlockSpec(
    in_channels=8, expanded_channels=24, out_channels=8, kernel=3, stride=1, groups=4, residual=True, shuffle=True
)


def tiny_spec() -> NetworkSpec:
    block = RESIDUAL.model_dump()
    return parse_spec({
        "name": "tiny", "height": 9, "width": 8, "channels": 3, "classes": 10,
        "stem": {"channels": 8, "kernel": 3, "stride": 2},
        "first_pointwise": {"channels": 8, "groups": 4, "shuffle": True},
        "first_depthwise": {"kernel": 3},
        "blocks": [block, block | {"out_channels": 12, "stride": 2, "residual": False}],
        "last_pointwise": {"channels": 16, "groups": 4},
        "sparsity": {"pointwise": 0.8, "depthwise": 0.7},
    })  # fmt: skip


def images(count: int = 5, height: int = 9, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, height, width, channels)).astype(np.float32)


def randomise(layer: Any, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    value: np.ndarray
    for variable in layer.variables:
        value = random.normal(size=tuple(variable.shape)).astype(np.float32)
        if variable.name == "moving_variance":
            value = np.abs(value) + 0.1
        if variable.name == "mask":
            value = (value > -0.5).astype(np.float32)
        variable.assign(value)


def reference_depthwise(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    count, height, width, channels = x.shape
    out = np.zeros((count, -(-height // stride), -(-width // stride), channels))
    for row, column in np.ndindex(out.shape[1:3]):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                y, z = stride * row + dy, stride * column + dx
                if 0 <= y < height and 0 <= z < width:
                    out[:, row, column] += weight[:, dy + 1, dx + 1] * x[:, y, z]
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_depthwise_pads_symmetrically(stride: int, size: tuple[int, int]) -> None:
    layer = Depthwise(4, 3, stride, "depthwise")
    randomise(layer)
    x = images(2, *size, 4)
    scale, offset = layer.norm.folded()
    expected = reference_depthwise(x, np.asarray(layer.masked()), stride) * np.asarray(scale) + np.asarray(offset)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_stem_pads_symmetrically() -> None:
    layer = Stem(3, 6, 3, 2, "stem")
    randomise(layer)
    x, weight = images(2), np.asarray(layer.masked())
    scale, offset = layer.norm.folded()
    sums = [
        sum(reference_depthwise(x[..., [c]], weight[[k], c], 2) for c in range(3))[..., 0]  # type: ignore[index]
        for k in range(6)
    ]
    expected = np.stack(sums, -1) * np.asarray(scale) + np.asarray(offset)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_groups_share_nothing() -> None:
    layer = Pointwise(8, 12, 4, "pointwise")
    randomise(layer)
    x, weight = images(channels=8), np.asarray(layer.masked())
    scale, offset = layer.norm.folded()
    parts = [x[..., 2 * g : 2 * g + 2] @ weight[3 * g : 3 * g + 3].T for g in range(4)]
    expected = np.concatenate(parts, -1) * np.asarray(scale) + np.asarray(offset)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_statistics_from_the_narrow_side_are_those_of_the_wide_one() -> None:
    layer = Pointwise(8, 24, 4, "pointwise")
    randomise(layer)
    x = images(channels=8) + 1
    out = np.asarray(layer(x, training=True))
    gamma, beta = np.asarray(layer.norm.gamma), np.asarray(layer.norm.beta)
    z = np.asarray(ops.matmul(x, layer.matrix(layer.masked())))
    mean, variance = z.mean((0, 1, 2)), z.var((0, 1, 2))
    np.testing.assert_allclose(out, (z - mean) / np.sqrt(variance + 1e-3) * gamma + beta, rtol=1e-3, atol=1e-3)


def test_a_channel_without_weights_stays_finite() -> None:
    layer = Pointwise(8, 24, 4, "pointwise")
    layer.mask.assign(np.repeat([[0.0], [1.0]], [3, 21], axis=0) * np.ones((24, 2)))
    out = np.asarray(layer(images(channels=8), training=True))
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[..., :3], np.broadcast_to(np.asarray(layer.norm.beta)[:3], out[..., :3].shape))


def test_shuffle_interleaves_groups() -> None:
    x = np.arange(12.0).reshape(1, 1, 1, 12)
    out = np.asarray(shuffle_channels(x, 4))[0, 0, 0]
    assert [out[k * 4 + g] for g in range(4) for k in range(3)] == list(range(12))


def test_shapes_follow_the_description() -> None:
    spec = tiny_spec()
    model = Network(spec)
    assert tuple(model(images()).shape) == (5, 10)
    x = model.front(images())
    for block, shape in zip(model.blocks, spec.block_shapes(), strict=True):
        assert tuple(x.shape[1:3]) == (shape.in_height, shape.in_width)
        x = block(x)
        assert tuple(x.shape[1:3]) == (shape.out_height, shape.out_width)


def test_parameters_agree_with_the_description() -> None:
    spec = tiny_spec()
    variables = Network(spec).named_variables()
    assert sum(int(np.prod(v.shape)) for name, v in variables.items() if ".mask" not in name) == spec.parameters()


def test_round_half_away() -> None:
    values = np.array([-2.5, -1.5, -0.5, -0.4, 0.5, 1.5, 2.4], np.float32)
    assert np.asarray(round_half_away(values)).tolist() == [-3, -2, -1, 0, 1, 2, 2]


def test_ternarisation_by_hand() -> None:
    # Mean magnitude 1.0, threshold 0.7: 0.7 itself becomes zero; alpha = (2 + 1.3) / 2.
    signs, alpha = ternarize(np.array([[2.0, -0.7], [0.0, -1.3]], np.float32))
    assert np.asarray(signs).tolist() == [[1, 0], [0, -1]]
    assert float(alpha) == pytest.approx(1.65)


def test_ternarisation_of_nothing() -> None:
    signs, alpha = ternarize(np.zeros((2, 2), np.float32))
    assert not np.asarray(signs).any()
    assert float(alpha) == 0


def test_predictor_input_is_the_contract_s() -> None:
    activations = np.arange(-128, 128)
    quantized = to_predictor_input(activations.astype(np.float32) * np.float32(0.013), 0.013)
    np.testing.assert_array_equal(quantized, numerics.predictor_input(activations))


def predictor_and_input() -> tuple[Predictor, np.ndarray]:
    predictor = Predictor(RESIDUAL, "block")
    randomise(predictor.expand, 1)
    randomise(predictor.depthwise, 2)
    predictor.input_scale.assign(0.02)
    predictor.shift.assign(np.arange(24) % 4)
    return predictor, images(4, 6, 6, 8)


def test_predictor_in_floating_point_is_the_integer_one() -> None:
    predictor, x = predictor_and_input()
    levels, s2 = (np.asarray(tensor) for tensor in predictor(x))
    x4 = numerics.predictor_input(numerics.saturate(np.trunc(x / np.float32(0.02) + np.copysign(0.5, x)), 8))
    signs, alpha = (np.asarray(tensor) for tensor in ternarize(predictor.expand.masked()))
    scale, offset = (np.asarray(tensor) for tensor in predictor.expand.norm.folded())
    folded = (signs * np.sign(scale)[:, None]).astype(np.int64)
    sums = np.stack([x4[..., 2 * (e // 6) : 2 * (e // 6) + 2] @ folded[e] for e in range(24)], -1)
    threshold = np.floor(-offset / (np.abs(scale) * alpha * 0.32)).astype(np.int64)
    expected = numerics.predictor_level(sums - threshold, np.arange(24) % 4)
    np.testing.assert_array_equal(levels, expected)
    assert 0.2 < (levels > 0).mean() < 0.8
    assert levels.max() == 15
    signs, alpha = (np.asarray(tensor) for tensor in ternarize(predictor.depthwise.masked()))
    scale, offset = (np.asarray(tensor) for tensor in predictor.depthwise.norm.folded())
    sums = reference_depthwise(expected, signs * np.sign(scale)[:, None, None], 1)
    threshold = np.floor(-offset / (np.abs(scale) * alpha))
    np.testing.assert_array_equal(s2 > 0, sums > threshold)


def test_gated_block_passes_what_the_predictor_says() -> None:
    block = FusedBlock(RESIDUAL, "block", predicted=True)
    assert block.predictor is not None
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, index)
    block.predictor.input_scale.assign(0.02)
    x = images(2, 6, 6, 8)
    levels, s2 = block.predictor(x)
    a1 = np.asarray(block.expand(x)) * (np.asarray(levels) > 0)
    a2 = np.asarray(block.depthwise(a1)) * (np.asarray(s2) > 0)
    expected = np.asarray(shuffle_channels(block.project(a2), 4)) + x
    np.testing.assert_allclose(block(x), expected, rtol=1e-4, atol=1e-4)
    assert (a1 < 0).any()


def test_too_many_survivors_cost() -> None:
    predictor, x = predictor_and_input()
    predictor.limit_to(Survivors(first=1.0, second=1.0, weight=2.0))
    predictor(x, training=True)
    assert float(predictor.losses[0]) == 0
    predictor.limit_to(Survivors(first=0.0, second=0.0, weight=2.0))
    predictor.expand.norm.beta.assign(np.full(24, -5000.0))
    predictor.depthwise.norm.gamma.assign(np.zeros(24))
    predictor.depthwise.norm.beta.assign(np.full(24, 50.0))
    predictor(x, training=True)
    # No first survivor, all second ones: a share of 1 above the 0 allowed.
    assert float(predictor.losses[0]) == pytest.approx(2.0, abs=1e-3)


def changes(block: Block, x: np.ndarray, settled: bool = False) -> dict[str, np.ndarray]:
    """Change of each weight after one step of rate 1 on the mean of squares of the output; BatchNorms may be settled."""

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.block(inputs, training=training and not settled)

    model = Model()
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse", jit_compile=False)
    named = {layer.label: layer.weight for layer in block.masked_layers()}
    if block.excitation is not None:
        named |= {variable.name: variable for variable in block.excitation.trainable_variables}
    before = {name: np.asarray(variable).copy() for name, variable in named.items()}
    model.train_on_batch(x, np.zeros(block(x).shape, np.float32))
    return {name: np.asarray(variable) - before[name] for name, variable in named.items()}


def gradients(block: FusedBlock, x: np.ndarray) -> dict[str, np.ndarray]:
    """Gradient of each weight of the mean of squares of the output."""
    return {f"{name}.weight": -change for name, change in changes(block, x).items()}


def test_gradients_reach_the_predictor_and_not_the_frozen_value_path() -> None:
    block = FusedBlock(RESIDUAL, "block", predicted=True)
    assert block.predictor is not None
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, index)
    block.predictor.input_scale.assign(0.02)
    block.expand.freeze()
    block.depthwise.freeze()
    block.project.weight.trainable = False
    mask = np.asarray(block.predictor.expand.mask)
    change = gradients(block, images(2, 6, 6, 8))
    for name in ("block.expand", "block.depthwise", "block.project"):
        assert not change[f"{name}.weight"].any()
    assert change["block.predictor_depthwise.weight"].any()
    assert change["block.predictor_expand.weight"][mask == 1].any()
    assert not change["block.predictor_expand.weight"][mask == 0].any()


def test_gradients_reach_a_quantized_block_s_value_path() -> None:
    block = FusedBlock(RESIDUAL, "block", predicted=True, quantized=True)
    assert block.predictor is not None
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, index)
    block.predictor.input_scale.assign(0.02)
    block.output_scale.assign(0.2)
    change = gradients(block, images(2, 6, 6, 8))
    for layer in block.masked_layers():
        mask = np.asarray(layer.mask)
        assert change[f"{layer.label}.weight"][mask == 1].any()
        assert not change[f"{layer.label}.weight"][mask == 0].any()


def test_a_block_without_predictor_has_no_gates() -> None:
    with pytest.raises(ArchonError, match="block: gates need a predictor"):
        FusedBlock(RESIDUAL, "block").gated(images(1, 6, 6, 8))


@pytest.mark.parametrize("predicted", [False, True])
def test_survivors_count_by_the_products_of_their_channels(predicted: bool) -> None:
    spec = RESIDUAL.model_copy(update={"groups": 2})
    block = FusedBlock(spec, "block", predicted)
    expanded = spec.expanded_channels
    random = np.random.default_rng(5)
    for layer in block.value_layers():
        layer.mask.assign((random.random(layer.mask.shape) < 0.5).astype(np.float32))
    first, depthwise, project = (ops.convert_to_numpy(layer.mask) for layer in block.value_layers())
    products = np.zeros(expanded)
    for e in range(expanded):
        group, within = divmod(e, expanded // 2)
        rows = project[group * len(project) // 2 : (group + 1) * len(project) // 2, within]
        products[e] = first[e].sum() * depthwise[e].sum() * rows.sum()
    np.testing.assert_array_equal(ops.convert_to_numpy(block.survivor_costs()), products)
    source = block.predictor if predicted else block
    assert source.costs() is None  # nobody asked
    source.limit_to(Survivors(first=0.0, second=0.0, weight=1.0))
    assert source.costs() is None
    source.limit_to(Survivors(first=0.0, second=0.0, weight=1.0, costs=True))
    np.testing.assert_allclose(ops.convert_to_numpy(source.costs()), products / products.mean(), rtol=1e-5)
    some = np.arange(expanded) % 3 == 0  # that survive everywhere
    for norm in (
        (layer.norm for layer in source.masked_layers()[:2]) if predicted else (block.expand.norm, block.depthwise.norm)
    ):
        norm.gamma.assign(np.zeros(expanded))
        norm.beta.assign(np.where(some, 5000.0, -5000.0))
    if predicted:
        source.input_scale.assign(0.02)
    block(np.ones((8, 4, 4, spec.in_channels), np.float32), training=True)
    assert float(block.losses[0]) == pytest.approx(2 * products[some].sum() / products.sum(), rel=1e-4)


@pytest.mark.parametrize(("limit", "cost"), [(1.0, 0.0), (0.25, 2 * (0.75 + 0.75)), (0.0, 2 * (1 + 1))])
def test_survivors_by_their_own_sign_cost(limit: float, cost: float) -> None:
    block = FusedBlock(RESIDUAL, "block")
    block.limit_to(Survivors(first=limit, second=limit, weight=2.0))
    for layer in (block.expand, block.depthwise):
        layer.norm.gamma.assign(np.zeros(layer.norm.gamma.shape))
        layer.norm.beta.assign(np.full(layer.norm.beta.shape, 5.0))  # all survive
    block(np.ones((8, 4, 4, RESIDUAL.in_channels), np.float32), training=True)
    assert float(block.losses[0]) == pytest.approx(cost, abs=1e-3)
