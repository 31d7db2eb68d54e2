"""Models of every network in sw/spec against their descriptions, and blocks of all kinds against formulas written out."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from sw.networks.block import Block
from sw.networks.layers import Depthwise, Pointwise, shuffle_channels
from sw.networks.limits import Survivors
from sw.networks.network import Network, make_block
from sw.networks.test_networks import changes, images, randomise, reference_depthwise
from sw.results.published import load_published
from sw.results.weights import Counts, float_counts
from sw.spec import AnyBlockSpec, BlockSpec, PointwisePairSpec, UnfusedSpec, known_specs, load_spec
from sw.train.export import export_weights
from sw.train.pruning import prunable_layers

SHUFFLING = UnfusedSpec(
    kind="unfused", in_channels=6, expanded_channels=12, out_channels=15, kernel=3, stride=2, groups=3, inner_shuffle=True,
    depthwise_relu=False, output_relu=True, average_pool_shortcut=True, shuffle=True,
)  # fmt: skip
ADDING = UnfusedSpec(
    kind="unfused", in_channels=6, expanded_channels=12, out_channels=6, kernel=3, stride=1, groups=1, residual=True,
    squeeze_and_excite=True, squeezed_channels=4, output_relu=True,
)  # fmt: skip
BARE = UnfusedSpec(
    kind="unfused", in_channels=6, expanded_channels=6, out_channels=9, kernel=3, stride=1, groups=1, expand=False
)
EXCITED = BlockSpec(
    in_channels=6, expanded_channels=12, out_channels=6, kernel=3, stride=1, groups=2, residual=True, shuffle=True,
    squeeze_and_excite=True, squeezed_channels=2,
)  # fmt: skip
PAIR = PointwisePairSpec(
    kind="pointwise_pair", in_channels=6, expanded_channels=12, out_channels=15, kernel=3, stride=2, groups=3,
    inner_shuffle=True, average_pool_shortcut=True,
)  # fmt: skip
ADDING_PAIR = PointwisePairSpec(
    kind="pointwise_pair", in_channels=6, expanded_channels=12, out_channels=6, kernel=3, stride=1, groups=2, residual=True
)
ALL = pytest.mark.parametrize("spec", [SHUFFLING, ADDING, BARE, EXCITED, PAIR, ADDING_PAIR])


def random_block(spec: AnyBlockSpec, predicted: bool = False, quantized: bool = False) -> Block:
    block = make_block(spec, "block", predicted, quantized)
    for index, layer in enumerate(block.masked_layers()):
        randomise(layer, index)
        if layer.rounding is not None:
            layer.rounding.assign(np.zeros(layer.weight.shape))
    if block.excitation is not None:
        random = np.random.default_rng(7)
        for variable in block.excitation.trainable_variables:
            variable.assign(random.normal(size=tuple(variable.shape)))
    return block


def run_pointwise(layer: Pointwise, x: np.ndarray) -> np.ndarray:
    weight = np.asarray(layer.masked())
    scale, offset = (np.asarray(tensor) for tensor in layer.norm.folded())
    outputs, inputs = len(weight) // layer.groups, weight.shape[1]
    parts = [x[..., g * inputs : (g + 1) * inputs] @ weight[g * outputs : (g + 1) * outputs].T for g in range(layer.groups)]
    return np.concatenate(parts, -1) * scale + offset


def run_depthwise(layer: Depthwise, x: np.ndarray) -> np.ndarray:
    scale, offset = (np.asarray(tensor) for tensor in layer.norm.folded())
    return reference_depthwise(x, np.asarray(layer.masked()), layer.stride) * scale + offset


def interleave(x: np.ndarray, groups: int) -> np.ndarray:
    channels = x.shape[-1] // groups
    return np.stack([x[..., g * channels + k] for k in range(channels) for g in range(groups)], -1)


def run_gates(block: Any, x: np.ndarray) -> np.ndarray:
    parts = {variable.name: np.asarray(variable) for variable in block.excitation.variables}
    hidden = np.maximum(x.mean((1, 2)) @ parts["reduce_weight"].T + parts["reduce_bias"], 0)
    z = hidden @ parts["excite_weight"].T + parts["excite_bias"]
    return x * np.clip((z + 3) / 6, 0, 1)[:, None, None]


def written_out(block: Any, x: np.ndarray) -> np.ndarray:
    """The block without predictor, step by step as sw/spec/blocks.py says it."""
    spec = block.spec
    if isinstance(spec, PointwisePairSpec):
        y = np.maximum(run_pointwise(block.expand, x), 0)
        y = interleave(y, spec.groups) if spec.inner_shuffle else y
        y = run_depthwise(block.depthwise, np.maximum(run_pointwise(block.project, y), 0))
    elif isinstance(spec, UnfusedSpec):
        y = x
        if spec.expand:
            y = np.maximum(run_pointwise(block.expand, y), 0)
        y = interleave(y, spec.groups) if spec.inner_shuffle else y
        y = run_depthwise(block.depthwise, y)
        y = np.maximum(y, 0) if spec.depthwise_relu else y
        y = run_gates(block, y) if spec.squeeze_and_excite else y
        y = run_pointwise(block.project, y)
        y = interleave(y, spec.groups) if spec.shuffle else y
    else:
        y = np.maximum(run_depthwise(block.depthwise, np.maximum(run_pointwise(block.expand, x), 0)), 0)
        y = run_gates(block, interleave(run_pointwise(block.project, y), spec.groups))
    if spec.residual:
        y = y + x
    if getattr(spec, "average_pool_shortcut", False):
        ninths = np.full((x.shape[-1], 3, 3), 1 / 9)
        y = np.concatenate([reference_depthwise(x, ninths, spec.stride), y], -1)
    return np.maximum(y, 0) if getattr(spec, "output_relu", False) else y


@ALL
def test_blocks_written_out(spec: AnyBlockSpec) -> None:
    block, x = random_block(spec), images(2, 5, 6, 6)
    expected = written_out(block, x)
    assert expected.shape[-1] == spec.out_channels
    np.testing.assert_allclose(block(x), expected, rtol=1e-3, atol=1e-3)


def test_shuffle_of_the_reference_is_the_layers_own() -> None:
    x = images(1, 2, 2, 6)
    np.testing.assert_array_equal(shuffle_channels(x, 3), interleave(x, 3))


def test_a_pair_passes_what_its_predictor_says() -> None:
    block, x = random_block(ADDING_PAIR, predicted=True), images(2, 5, 6, 6)
    block.predictor.input_scale.assign(0.02)
    survives = np.asarray(block.predictor(x)) > 0
    assert 0.1 < survives.mean() < 0.9
    y = np.maximum(run_pointwise(block.project, run_pointwise(block.expand, x) * survives), 0)
    np.testing.assert_allclose(block(x), run_depthwise(block.depthwise, y) + x, rtol=1e-3, atol=1e-3)


def test_too_many_survivors_of_a_pair_cost() -> None:
    block, x = random_block(ADDING_PAIR, predicted=True), images(2, 5, 6, 6)
    block.predictor.limit_to(Survivors(first=0.25, second=0.0, weight=2.0))
    block.predictor.expand.norm.gamma.assign(np.zeros(12))
    block.predictor.expand.norm.beta.assign(np.full(12, 50.0))
    block(x, training=True)
    assert float(block.losses[0]) == pytest.approx(2 * 0.75, abs=1e-3)


@pytest.mark.parametrize("spec", [PAIR, ADDING_PAIR])
def test_survivors_of_a_pair_count_by_the_products_of_their_channels(spec: PointwisePairSpec) -> None:
    block = random_block(spec, predicted=True)
    expanded, groups = spec.expanded_channels, spec.groups
    order = np.arange(expanded)
    if spec.inner_shuffle:
        order = interleave(order[None, None, None], groups).ravel()
    first, project = (ops.convert_to_numpy(layer.mask) for layer in (block.expand, block.project))
    products = np.zeros(expanded)
    for place, e in enumerate(order):
        group, within = divmod(place, expanded // groups)
        rows = project[group * len(project) // groups : (group + 1) * len(project) // groups, within]
        products[e] = first[e].sum() * rows.sum()
    assert len(np.unique(products)) > 2
    np.testing.assert_array_equal(ops.convert_to_numpy(block.survivor_costs()), products)
    block.predictor.limit_to(Survivors(first=0.25, second=0.0, weight=2.0, costs=True))
    some = np.arange(expanded) % 2 == 0
    block.predictor.expand.norm.gamma.assign(np.zeros(expanded))
    block.predictor.expand.norm.beta.assign(np.where(some, 50.0, -50.0))
    block(images(2, 5, 6, spec.in_channels), training=True)
    share = products[some].sum() / products.sum()
    assert float(block.losses[0]) == pytest.approx(2 * max(0.0, share - 0.25), rel=1e-4)


@pytest.mark.parametrize("spec", [PAIR, ADDING_PAIR, EXCITED])
def test_gradients_go_to_the_predictor_past_the_frozen_value_path(spec: AnyBlockSpec) -> None:
    block = random_block(spec, predicted=True)
    block.predictor.input_scale.assign(0.02)
    block.freeze_value_path()
    changed = {name: change.any() for name, change in changes(block, images(2, 6, 6, 6)).items()}
    assert not any(changed[f"block.{layer}"] for layer in ("expand", "depthwise", "project"))
    assert changed["block.predictor_expand"]


@ALL
def test_gradients_reach_every_weight_of_a_quantized_block(spec: AnyBlockSpec) -> None:
    block = random_block(spec, predicted=not isinstance(spec, UnfusedSpec), quantized=True)
    block.input_scale.assign(0.02)
    for scale in (block.output_scale, *block.scales.values()):
        scale.assign(0.2)
    if block.excitation is not None:
        for scale in block.excitation.scales.values():
            scale.assign(0.5)
    changed = changes(block, images(2, 6, 6, 6))
    for layer in block.masked_layers():
        change, mask = changed[layer.label], np.asarray(layer.mask)
        assert change[mask == 1].any(), layer.label
        assert not change[mask == 0].any(), layer.label
    if block.excitation is not None:
        for part in ("reduce_weight", "excite_weight", "excite_bias"):
            assert changed[part].any()


@ALL
def test_quantized_outputs_are_int8(spec: AnyBlockSpec) -> None:
    block = random_block(spec, predicted=not isinstance(spec, UnfusedSpec), quantized=True)
    for scale in (block.input_scale, block.output_scale, *block.scales.values()):
        scale.assign(0.05)
    x = np.rint(images(2, 6, 6, 6) / 0.05).astype(np.float32) * np.float32(0.05)
    levels = np.asarray(block(x)) / 0.05
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert levels.max() <= 127.001
    assert len(np.unique(np.rint(levels))) > 20


def counted(model: Network) -> int:
    """Multiply-accumulates of an image, from the shapes of weights and of what the layers give, nothing computed."""
    spec, total = model.spec, 0
    layers = [(layer, layer.call) for layer in model.masked_layers()]

    def watched(layer: Any, call: Any) -> Any:
        def run(inputs: Any, training: bool = False) -> Any:
            nonlocal total
            out = call(inputs, training=training)
            total += int(np.prod(layer.weight.shape)) * int(np.prod(out.shape[1:3]))
            return out

        return run

    for layer, call in layers:
        layer.call = watched(layer, call)
    model.compute_output_spec(keras.KerasTensor((1, spec.height, spec.width, spec.channels)))
    for block, shape in zip(model.blocks, spec.block_shapes(), strict=True):
        if block.excitation is not None:
            channels, pixels = block.excitation.excite_bias.shape[0], shape.out_height * shape.out_width
            total += 2 * int(np.prod(block.excitation.excite_weight.shape)) + channels * pixels
    return total + int(np.prod(model.dense.kernel.shape))


@pytest.mark.parametrize("name", known_specs())
def test_models_have_the_size_of_their_descriptions(name: str) -> None:
    spec = load_spec(name)
    model = Network(spec)
    parameters = sum(int(np.prod(v.shape)) for key, v in model.named_variables().items() if ".mask" not in key)
    operations = counted(model)
    assert parameters == spec.parameters()
    assert operations == spec.multiply_accumulates()
    ones = {key: np.ones_like(array) for key, array in export_weights(model).items()}
    assert float_counts(ones, spec) == Counts(sum(layer.weights for layer in spec.layers), operations)
    published = load_published().find(name, "cifar10")
    if published.multiplications:
        assert operations / 1e6 == pytest.approx(published.multiplications["vanilla"], abs=1)
        for layer in prunable_layers(model, spec.sparsity):
            layer.prune(1.0)
        left = float_counts(export_weights(model), spec)
        assert left.multiply_accumulates / 1e6 == pytest.approx(published.multiplications["pruned"], abs=1)
    if published.parameters is not None:
        assert parameters / 1e6 == pytest.approx(published.parameters, abs=0.05)


def test_front_and_head_are_as_described() -> None:
    shuffle = Network(load_spec("shufflenet-nano"))
    assert shuffle.last_pointwise is None
    assert shuffle.first_pointwise is None
    x = np.zeros((1, 32, 32, 3), np.float32)
    assert tuple(ops.shape(shuffle.front(x))) == (1, 16, 16, 24)
    assert tuple(ops.shape(shuffle(x))) == (1, 10)
