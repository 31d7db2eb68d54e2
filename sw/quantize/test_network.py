"""Trained weights, as sw.train names them, become an integer network or are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.datasets import load_excerpt, normalise
from sw.golden import run
from sw.quantize import calibration
from sw.quantize.dense import activation_scale, image_levels, quantize_dense, rounded_weights
from sw.quantize.network import quantize_front, quantize_network
from sw.quantize.predictor import quantize_predictor
from sw.quantize.weights import folded, predictor_layers, value_path
from sw.spec import NetworkSpec, parse_spec

SCALE = 1 / 32


def small_spec() -> NetworkSpec:
    block = {"kernel": 3, "groups": 2, "shuffle": True}
    return parse_spec(
        {
            "name": "small",
            "height": 32,
            "width": 32,
            "channels": 3,
            "classes": 10,
            "stem": {"channels": 8, "kernel": 3, "stride": 2},
            "first_pointwise": {"channels": 8, "groups": 2, "shuffle": True},
            "first_depthwise": {"kernel": 3},
            "blocks": [
                block | {"in_channels": 8, "expanded_channels": 36, "out_channels": 12, "stride": 2, "residual": False},
                block
                | {"in_channels": 12, "expanded_channels": 30, "out_channels": 12, "stride": 1, "residual": True}
                | {"kernel": 5},
            ],
            "last_pointwise": {"channels": 16, "groups": 2},
            "sparsity": {"pointwise": 0.5, "depthwise": 0.5},
        }
    )


def trained_arrays(spec: NetworkSpec, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random arrays with the names and shapes of sw.train.export."""
    random = np.random.default_rng(seed)
    arrays: dict[str, NDArray[Any]] = {}

    def add(layer: str, shape: tuple[int, ...], zeros: float = 0.0) -> None:
        fan_in = np.prod(shape[1:]) * (1 - zeros)
        arrays[f"{layer}.weight"] = random.normal(size=shape) * (random.random(shape) >= zeros) / np.sqrt(fan_in)
        arrays[f"{layer}.scale"] = random.uniform(0.5, 1.5, shape[0]) * random.choice([-1, 1], shape[0])
        arrays[f"{layer}.offset"] = random.normal(size=shape[0]) * 0.3

    stem, (first, _), last = spec.stem, spec.front, spec.head
    add("stem", (stem.channels, 3, 3, 3))
    add("first_pointwise", (first.channels, stem.channels // first.groups))
    add("first_depthwise", (first.channels, 3, 3))
    for index, block in enumerate(spec.fused_blocks):
        name, expanded, inputs = f"blocks.{index}", block.expanded_channels, block.in_channels // block.groups
        add(f"{name}.expand", (expanded, inputs), 0.5)
        add(f"{name}.depthwise", (expanded, block.kernel, block.kernel), 0.5)
        add(f"{name}.project", (block.out_channels, expanded // block.groups), 0.5)
        for part in ("expand", "depthwise"):
            source, target = f"{name}.{part}", f"{name}.predictor_{part}"
            arrays[f"{target}.weight"] = np.sign(arrays[f"{source}.weight"]).astype(np.int8)
            arrays[f"{target}.alpha"] = np.array(0.5)
            for norm in ("scale", "offset"):
                arrays[f"{target}.{norm}"] = arrays[f"{source}.{norm}"]
        arrays[f"{name}.predictor.shift"] = random.integers(0, 3, expanded).astype(np.int8)
        arrays[f"{name}.input_scale"] = np.array(SCALE)
    add("last_pointwise", (last.channels, spec.blocks[-1].out_channels // last.groups), 0.5)
    arrays["last_pointwise.input_scale"] = np.array(SCALE)
    arrays["dense.weight"] = random.normal(size=(spec.classes, last.channels)).astype(np.float32)
    arrays["dense.bias"] = random.normal(size=spec.classes).astype(np.float32)
    return arrays


def test_names_and_shapes_of_every_layer_are_those_of_the_specification() -> None:
    spec = small_spec()
    quantized = quantize_network(trained_arrays(spec), spec, load_excerpt().images[:4])
    quantized.network.check()
    for report in quantized.blocks:
        assert 0.1 < report.survivors_first < 0.9
        assert 0.1 < report.survivors_second < 0.9


def test_golden_model_of_the_integers_follows_the_float_network() -> None:
    spec, images = small_spec(), load_excerpt().images[:4]
    arrays = trained_arrays(spec, 7)
    result = run(quantize_network(arrays, spec, images).network, images, keep_activations=True)
    assert result.block_inputs is not None
    front = quantize_front(arrays, spec, images).output / SCALE
    np.testing.assert_allclose(result.block_inputs.transpose(0, 2, 3, 1), front, atol=1)
    tensor = result.block_inputs
    for index, block in enumerate(spec.fused_blocks):
        name = f"block {index + 1}"
        predictor = quantize_predictor(*predictor_layers(arrays, f"blocks.{index}", block, SCALE))
        x = (tensor.transpose(0, 2, 3, 1) * SCALE).astype(np.float32)
        trace = calibration.run_block(x, value_path(arrays, f"blocks.{index}", block), predictor, block, SCALE)
        expected = calibration.block_output(trace.projected, x, block, SCALE) / SCALE
        statistics, tensor = result.statistics[name], result.activations[name]
        assert statistics.first.survivor_share == pytest.approx(trace.survivors_first)
        assert statistics.second.survivor_share == pytest.approx(trace.survivors_second)
        got = tensor.transpose(0, 2, 3, 1).astype(np.float64)
        assert np.corrcoef(got.reshape(-1), expected.reshape(-1))[0, 1] > 0.99


def test_golden_model_of_the_integers_follows_the_float_layers_behind_the_blocks() -> None:
    spec, images = small_spec(), load_excerpt().images[:8]
    arrays = trained_arrays(spec, 7)
    arrays["dense.bias"] *= 5
    quantized = quantize_network(arrays, spec, images)
    result = run(quantized.network, images, keep_activations=True)
    x = result.activations["block 2"].transpose(0, 2, 3, 1).astype(np.float32) * np.float32(SCALE)
    weight, bias = folded(arrays, "last_pointwise", (16, 6))
    pooled = np.maximum(calibration.pointwise(x, weight) + bias, 0).mean(axis=(1, 2))
    expected = pooled @ arrays["dense.weight"].T + arrays["dense.bias"]
    scale, unit = quantized.scales["pool.output_scale"], np.abs(arrays["dense.weight"]).max() / 127
    np.testing.assert_allclose(result.activations["pool"] * scale, pooled, atol=1.5 * scale)
    np.testing.assert_allclose(result.logits * scale * unit, expected, atol=0.03 * expected.std())
    np.testing.assert_allclose(quantized.network.dense_weight * unit, arrays["dense.weight"], atol=0.5001 * unit)


def test_predictors_decide_as_the_trained_floats() -> None:
    spec, random = small_spec(), np.random.default_rng(5)
    arrays = trained_arrays(spec, 7)
    for index, block in enumerate(spec.fused_blocks):
        name = f"blocks.{index}"
        first, second = (
            {key: arrays[f"{name}.{part}.{key}"] for key in ("weight", "alpha", "scale", "offset")}
            for part in ("predictor_expand", "predictor_depthwise")
        )
        levels = random.integers(-8, 8, (4, 6, 6, block.in_channels))
        step = 16 * SCALE
        s1 = calibration.pointwise((levels * step).astype(np.float32), first["weight"])
        s1 = s1 * first["alpha"] * first["scale"] + first["offset"]
        unit = np.abs(first["alpha"] * first["scale"]) * step * 2.0 ** arrays[f"{name}.predictor.shift"]
        r1 = np.clip(np.ceil(s1 / unit), 0, 15).astype(np.float32)
        s2 = calibration.depthwise(r1, second["weight"], block.stride) * second["alpha"] * second["scale"] + second["offset"]
        predictor = quantize_predictor(*predictor_layers(arrays, name, block, SCALE))
        masks = calibration.run_predictor((levels * step).astype(np.float32), predictor, block, SCALE)
        np.testing.assert_array_equal(masks.levels, r1)
        np.testing.assert_array_equal(masks.survives, s2 > 0)


def test_scales_that_come_with_the_weights_are_taken() -> None:
    spec, images = small_spec(), load_excerpt().images
    arrays = trained_arrays(spec, 7)
    found = quantize_network(arrays, spec, images[:4])
    given = {name: np.asarray(scale) for name, scale in found.scales.items()}
    assert sorted(given) == [
        "first_pointwise.output_scale", "last_pointwise.output_scale", "pool.output_scale", "stem.output_scale"
    ]  # fmt: skip
    again, other = (quantize_network(of, spec, images[4:5]) for of in (arrays | given, arrays))
    assert again.scales == found.scales != other.scales
    np.testing.assert_array_equal(again.network.dense_bias, found.network.dense_bias)


def test_constant_channels_are_folded_and_counted() -> None:
    spec = small_spec()
    arrays = trained_arrays(spec, 1)
    images = load_excerpt().images[:2]
    for name in ("expand", "predictor_expand"):
        arrays[f"blocks.0.{name}.weight"][:6] = 0
    arrays["blocks.0.predictor_expand.scale"][:] = 1.0
    arrays["blocks.0.predictor_expand.offset"][:3] = -1.0
    arrays["blocks.0.predictor_expand.offset"][3:6] = 1.0
    arrays["blocks.0.project.weight"][:6, :6] = 0.5
    without = {name: array.copy() for name, array in arrays.items()}
    without["blocks.0.project.weight"][:6, :6] = 0.0
    kept, dropped = (quantize_network(of, spec, images) for of in (arrays, without))
    dead = int((arrays["blocks.0.expand.weight"] == 0).all(axis=1).sum())
    assert kept.blocks[0].constant_exact >= 3
    assert kept.blocks[0].constant_exact + kept.blocks[0].constant_interior == dead
    kept_block, dropped_block = kept.network.fused_blocks[0], dropped.network.fused_blocks[0]
    np.testing.assert_array_equal(kept_block.project_weight, dropped_block.project_weight)
    assert (kept_block.requantization.bias != dropped_block.requantization.bias)[:6].any()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("blocks.1.depthwise.scale", None, "expected an array blocks.1.depthwise.scale, got none"),
        ("blocks.0.expand.weight", np.zeros((3, 3)), r"expected blocks.0.expand.weight of shape \(36, 4\), got \(3, 3\)"),
        ("dense.bias", np.full(10, np.nan), "expected finite numbers in dense.bias"),
        ("blocks.0.input_scale", np.float32(0), "expected a positive blocks.0.input_scale, got 0"),
        ("blocks.1.input_scale", np.float32(0.5), "block 2: a residual needs one scale before and after"),
        ("blocks.0.predictor_depthwise.weight", np.full((36, 3, 3), 2), "expected -1, 0 or 1 .* got 2"),
    ],
)
def test_bad_arrays_are_refused_by_name(name: str, change: Any, message: str) -> None:
    spec = small_spec()
    arrays = trained_arrays(spec)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change
    with pytest.raises(ArchonError, match=message):
        quantize_network(arrays, spec, load_excerpt().images[:2])


def test_image_levels_are_the_normalised_pixels() -> None:
    levels, scale = image_levels()
    pixels = np.arange(256, dtype=np.uint8)
    assert np.abs(levels * scale - normalise(pixels)).max() <= scale / 2 * 1.001
    assert levels.max() == 127


def test_dense_layer_keeps_its_function() -> None:
    random = np.random.default_rng(2)
    weight, bias = random.normal(size=(5, 7)), random.normal(size=5)
    weight[3] = 0
    layer = quantize_dense("layer", weight, bias, 0.02, 0.05)
    x = random.integers(-128, 128, (100, 7))
    real = (x * 0.02) @ weight.T + bias
    sums = x @ layer.weight.T.astype(np.int64) + layer.requantization.bias
    got = sums * (layer.requantization.multiplier / 2.0**layer.requantization.shift) * 0.05
    rounding = 0.5 * np.abs(weight).max(axis=1) / 127 * np.abs(x * 0.02).sum(axis=1)[:, None]
    assert (np.abs(got - real) <= rounding + 1e-3).all()
    assert np.ptp(got[:, 3]) == 0
    used = layer.weight * np.abs(weight).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(rounded_weights(weight), used, atol=1e-12)  # as training applies them


def test_activation_scale_beats_its_neighbours() -> None:
    values = np.random.default_rng(3).normal(size=200_000)
    values[0] = 15.0  # rather clipped than kept

    def error(scale: float) -> float:
        return float(((np.clip(np.rint(values / scale), -128, 127) * scale - values) ** 2).sum())

    best = activation_scale(values)
    assert error(best) <= min(error(best * 1.2), error(best * 0.8), error(15 / 127))
    assert best < 0.6 * 15 / 127
    assert activation_scale(np.zeros(3)) == 1.0


def test_float_layers_agree_with_literal_sums() -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=(2, 5, 4, 6)).astype(np.float32)
    dense, pointwise = random.normal(size=(3, 6, 3, 3)), random.normal(size=(8, 3))
    window = random.normal(size=(6, 3, 3))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for stride in (1, 2):
        convolved, filtered = calibration.convolve(x, dense, stride), calibration.depthwise(x, window, stride)
        for n, row, column in np.ndindex(filtered.shape[:3]):
            patch = padded[n, row * stride : row * stride + 3, column * stride : column * stride + 3].transpose(2, 0, 1)
            np.testing.assert_allclose(convolved[n, row, column], (dense * patch).sum(axis=(1, 2, 3)), rtol=1e-4)
            np.testing.assert_allclose(filtered[n, row, column], (window * patch).sum(axis=(1, 2)), rtol=1e-3, atol=1e-5)
    mixed = calibration.pointwise(x, pointwise)
    np.testing.assert_allclose(mixed[..., :4], x[..., :3] @ pointwise[:4].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mixed[..., 4:], x[..., 3:] @ pointwise[4:].T, rtol=1e-4, atol=1e-5)
    assert calibration.shuffle(np.arange(6, dtype=np.float32)[None], 2).tolist() == [[0, 3, 1, 4, 2, 5]]
