"""Other precisions, in Keras and in integers, on a network of a few hundred weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.arrays import load_arrays, save_arrays
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.networks.network import Network
from sw.networks.predictor import Predictor, ternarize
from sw.precision.choices import Choice
from sw.precision.comparison import Comparison
from sw.quantize.calibration import run_predictor
from sw.quantize.network import quantize_network
from sw.quantize.precision import Precision
from sw.quantize.predictor import quantize_predictor
from sw.quantize.weights import predictor_layers
from sw.run_folder import CHECKPOINT, CONFIG, WEIGHTS
from sw.spec import BlockSpec
from sw.train.export import export_layer
from sw.train.precision import Trained
from sw.train.stages import make_stage
from sw.train.test_train import QUICK, run_of, tiny_data, tiny_spec

SCALE = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of stage quantized: random weights, with predictors that are calibrated, and no training."""
    folder, data, spec = tmp_path_factory.mktemp("precision"), tiny_data(), tiny_spec()
    keras.utils.set_random_seed(1)
    arrays = as_arrays(Network(spec).named_variables())
    for name in ("pred", "quantized"):
        stage = make_stage(name, spec, QUICK, data, "forward")
        stage.start_from(arrays, folder)
        arrays = as_arrays(stage.variables())
    save_arrays(folder / CHECKPOINT, arrays)
    save_arrays(folder / WEIGHTS, stage.weights())
    (folder / CONFIG).write_text(json.dumps(run_of(folder, "quantized").settings()), encoding="utf-8")
    return folder


def as_arrays(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables.items()}


def first_block(network: IntegerNetwork) -> FusedBlock:
    part = network.parts()["block 1"]
    assert isinstance(part, FusedBlock)
    return part


def test_the_default_is_what_the_exporter_makes(folder: Path) -> None:
    data = tiny_data()
    trained = Trained(tiny_spec(), folder, data)
    expected = quantize_network(load_arrays(folder / WEIGHTS), tiny_spec(), data.images[:64]).network
    for name, part in trained.rounded(Precision()).parts().items():
        for field, values in vars(part).items():
            if isinstance(values, np.ndarray):
                np.testing.assert_array_equal(values, getattr(expected.parts()[name], field))


@pytest.mark.parametrize(
    ("precision", "field", "limit"),
    [
        (Precision(Widths(weight=3)), "expand_weight", 3),
        (Precision(Widths(weight=8, accumulator=32, bias_product=32, bias=32)), "expand_weight", 127),
        (Precision(project_bits=4), "project_weight", 7),
        (Precision(project_terms=1), "project_weight", 128),
    ],
)
def test_weights_are_those_of_the_precision(folder: Path, precision: Precision, field: str, limit: int) -> None:
    network = Trained(tiny_spec(), folder, tiny_data()).rounded(precision)
    values = np.abs(np.concatenate([getattr(network.parts()[f"block {i}"], field).ravel() for i in (1, 2)]))
    assert limit // 2 < values.max() <= limit
    if field == "project_weight":
        assert np.isin(values, precision.project_magnitudes).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_predictors_of_other_inputs_decide_alike_in_keras_and_in_integers(bits: int) -> None:
    """Level shifts from 0 to 3, so that with two and three bits some cannot fall as far as the inputs."""
    random = np.random.default_rng(bits)
    spec = tiny_spec().blocks[0]
    assert isinstance(spec, BlockSpec)
    precision = Precision(Widths(predictor_sum=16), predictor_input=bits)
    predictor = Predictor(spec, "blocks.0")
    predictor.input_bits = bits
    predictor.input_scale.assign(SCALE)
    predictor.shift.assign(np.arange(spec.expanded_channels) % 4)
    for layer, spread in zip(predictor.masked_layers(), (0.3, 3.0), strict=True):
        layer.norm.moving_mean.assign(random.normal(0, spread, spec.expanded_channels))
        layer.norm.gamma.assign(random.uniform(-2, 2, spec.expanded_channels))
    arrays = {"blocks.0.predictor.shift": np.asarray(predictor.shift)}
    for layer in predictor.masked_layers():
        signs, alpha = ternarize(layer.masked())
        arrays |= export_layer(layer) | {f"{layer.label}.alpha": np.asarray(alpha), f"{layer.label}.weight": np.asarray(signs)}
    integers = quantize_predictor(*predictor_layers(arrays, "blocks.0", spec, SCALE, precision), precision)
    x = (random.integers(-128, 128, (3, 8, 8, spec.in_channels)) * np.float32(SCALE)).astype(np.float32)
    masks = run_predictor(x, integers, spec, SCALE, precision)
    levels, second = (np.asarray(tensor) for tensor in predictor(x))
    coarser = np.ldexp(1.0, np.maximum(4 - bits - np.arange(spec.expanded_channels) % 4, 0))
    assert 0.1 < (masks.levels > 0).mean() < 0.9
    assert ((levels == masks.levels * coarser) | ~np.isfinite(levels)).mean() > 0.999
    assert ((second > 0) == masks.survives).mean() > 0.995


def test_predictor_inputs_have_as_many_levels_as_bits() -> None:
    activations = np.arange(-128, 128)
    for bits in range(2, 9):
        inputs = numerics.predictor_input(activations, bits)
        assert (inputs.min(), inputs.max()) == numerics.signed_range(bits)
        assert len(np.unique(inputs)) == 1 << bits


def test_tuning_repeats_and_trains_at_the_precision(folder: Path) -> None:
    trained = Trained(tiny_spec(), folder, tiny_data(), seed=3)
    coarse, fine = Precision(Widths(weight=3), project_terms=1), Precision(Widths(weight=8, accumulator=32))
    block, again = (first_block(trained.tuned(coarse, 2)) for _ in range(2))
    np.testing.assert_array_equal(block.expand_bias, again.expand_bias)
    assert np.abs(block.expand_weight).max() == 3
    assert np.isin(np.abs(block.project_weight), coarse.project_magnitudes).all()
    before, after = first_block(trained.rounded(fine)), first_block(trained.tuned(fine, 2))
    assert (before.requantization.bias != after.requantization.bias).any()
    with pytest.raises(ArchonError, match="steps: expected at most 8, an epoch, got 9"):
        trained.tuned(coarse, 9)


def test_tuning_trains_as_the_run_was_trained(folder: Path, tmp_path: Path) -> None:
    """Of a run without b1 and b2 none come back."""
    arrays = load_arrays(folder / CHECKPOINT)
    arrays["blocks.0.expand.beta"] = np.ones_like(arrays["blocks.0.expand.beta"])
    trained = Trained(tiny_spec(), tmp_path, tiny_data())
    save_arrays(tmp_path / CHECKPOINT, arrays)
    for biased in (True, False):
        settings = run_of(tmp_path, "quantized", recipe={"value_biases": biased}).settings()
        (tmp_path / CONFIG).write_text(json.dumps(settings), encoding="utf-8")
        assert first_block(trained.tuned(Precision(), 1)).expand_bias.any() == biased
    (tmp_path / CONFIG).write_text(json.dumps(settings | {"recipe": {"epochs": 1}}), encoding="utf-8")
    with pytest.raises(ArchonError, match=r"config\.json: expected what this version notes of a run, got something else"):
        trained.tuned(Precision(), 1)


def test_a_comparison_measures_each_choice_once(folder: Path, tmp_path: Path) -> None:
    data = tiny_data()
    comparison = Comparison(tiny_spec(), "cifar10", folder, tmp_path, data, data, 0, 0, "small", Console(quiet=True))
    default = Choice("default", Precision())
    comparison.run([default])
    [row] = comparison.rows
    right = row.recognised()
    assert right is not None
    assert (row.images, row.correct) == (256, right.sum())
    assert (row.adder_bits <= 18, row.product_bits, row.tuned_steps) == (True, 9, 0)
    comparison.run([default, Choice("weights", Precision(replace(Widths(), weight=4)))])
    assert [found.kind for found in comparison.rows] == ["default", "weights"]
    assert comparison.rows[0].right == row.right
    assert comparison.rows[1].pair_rows > 0
    assert comparison.rows[1].product_bits == 7
