"""Every family's small network through all stages on a few real images, and its integers in Keras against the golden model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.bundle import check_network_bounds, load_bundle, save_bundle
from sw.datasets import ImageSet, load_excerpt
from sw.golden import run as run_golden
from sw.networks.layers import Depthwise
from sw.networks.network import Network
from sw.quantize.network import quantize_network
from sw.run_folder import read_log
from sw.spec import NetworkSpec, load_spec, parse_spec
from sw.train import checkpoint
from sw.train.quantization import QuantizationStage
from sw.train.recipe import Recipe, stages_of
from sw.train.run import train
from sw.train.settings import Run
from sw.train.stages import make_stage

tf = pytest.importorskip("tensorflow", reason="these tests run TensorFlow's functions eagerly")

FAMILIES = {
    "fusionet-nano": (0, 1),
    "mobilenetv2-nano": (0, 1, 2),
    "mobilenetv2-modified-nano": (0, 1, 2),
    "mnasnet-nano": (0, 1, 2, 3),
    "mnasnet-modified-nano": (0, 1, 2, 4),
    "shufflenet-nano": (0, 1, 2),
    "shufflenet-modified-nano": (0, 1, 2),
}
"""The small networks, and enough of their blocks to have one of each form."""
FRONT_IN_BLOCKS = ("mobilenetv2", "mnasnet")
"""Their first block is their first depthwise and first pointwise layer, which stay dense."""
QUICK = Recipe(epochs=1, rate=0.02, final_rate=0.01, batch=16, ramp=0.5, decay=1e-3)
IMAGES = 32


def small_spec(name: str) -> NetworkSpec:
    """A part of a family's small network, on images of 16x16 pixels."""
    spec = load_spec(name)
    blocks = [spec.blocks[index].model_dump() for index in FAMILIES[name]]
    return parse_spec(spec.model_dump() | {"height": 16, "width": 16, "blocks": blocks})


def small_data() -> ImageSet:
    excerpt = load_excerpt()
    return ImageSet(np.ascontiguousarray(excerpt.images[:IMAGES, 8:24, 8:24]), excerpt.labels[:IMAGES])


def run_of(folder: Path, spec: NetworkSpec, stage: str, **changes: Any) -> Run:
    recipe = QUICK.limited(0.5, 0.4) if stage in {"pred", "quantized"} else QUICK
    return Run(spec, stage, replace(recipe, **changes.pop("recipe", {})), folder / stage, **changes)


def trained(name: str) -> Any:
    """A parameter for `family`; its tests run in one process, which trains it once."""
    return pytest.param(name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    """A few steps take less time than compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module", params=[trained(name) for name in FAMILIES])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[NetworkSpec, Path]:
    """A network, and the folder of its stages, trained one after the other."""
    spec, folder, data = small_spec(request.param), tmp_path_factory.mktemp(request.param), small_data()
    for stage in stages_of(spec):
        accuracy = train(run_of(folder, spec, stage), data, data)
        assert accuracy is not None
    return spec, folder


@pytest.mark.slow
def test_export_gives_the_integers_that_keras_evaluated(family: tuple[NetworkSpec, Path], tmp_path: Path) -> None:
    spec, folder = family
    data = small_data()
    # Other calibration images than in training: all scales come with the weights.
    arrays = load_arrays(folder / "quantized" / "weights.npz")
    network = quantize_network(arrays, spec, data.images[20:22]).network
    check_network_bounds(network, Widths())
    save_bundle(network, tmp_path / "network.archon")
    network = load_bundle(tmp_path / "network.archon")
    layerwise, fused = (run_golden(network, data.images[:2], mode, keep_activations=True) for mode in ("layerwise", "fused"))
    for name, expected in layerwise.activations.items():
        np.testing.assert_array_equal(fused.activations[name], expected)
    stage = make_stage("quantized", spec, QUICK, data, "forward")
    assert isinstance(stage, QuantizationStage)
    state = load_arrays(folder / "quantized" / "checkpoint.npz")
    checkpoint.assign(stage.variables(), state, folder)
    golden = run_golden(network, data.images)
    np.testing.assert_array_equal(stage.inference()(data.images), golden.logits)
    accuracy = float((golden.classes == data.labels).mean())
    assert read_log(folder / "quantized", 9)[-1]["test_accuracy"] == str(accuracy)


@pytest.mark.slow
def test_what_is_trained_follows_the_integers(family: tuple[NetworkSpec, Path]) -> None:
    spec, folder = family
    data = small_data()
    stage = make_stage("quantized", spec, QUICK, data, "forward")
    assert isinstance(stage, QuantizationStage)
    checkpoint.assign(stage.variables(), load_arrays(folder / "quantized" / "checkpoint.npz"), folder)
    golden = run_golden(stage.quantized().network, data.images[:8], keep_activations=True)
    assert golden.block_inputs is not None
    source = golden.block_inputs
    for index, block in enumerate(stage.model.blocks, start=1):
        names = [name for name in golden.activations if name.split()[:2] == ["block", str(index)]]
        parts = [name for name in names if name in {names[-1], f"block {index} shortcut"}]
        expected = np.concatenate([golden.activations[name] for name in parts], axis=1)
        x = source.transpose(0, 2, 3, 1) * np.asarray(block.input_scale)
        levels = ops.convert_to_numpy(block(x)).transpose(0, 3, 1, 2) / np.asarray(block.output_scale)
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        inner = (..., slice(1, -1), slice(1, -1))  # at the border, channels without weights differ
        assert np.corrcoef(levels[inner].ravel(), expected[inner].ravel())[0, 1] > 0.99, names
        source = expected


@pytest.mark.slow
def test_pruned_weights_stay_zero(family: tuple[NetworkSpec, Path]) -> None:
    spec, folder = family
    pruned = load_arrays(folder / "pruned" / "weights.npz")
    for stage in stages_of(spec)[2:]:
        later = load_arrays(folder / stage / "weights.npz")
        for index, block in enumerate(Network(spec).blocks):
            for layer in block.value_layers():
                name, sparsity = f"{layer.label}.weight", spec.sparsity.pointwise
                if isinstance(layer, Depthwise):
                    sparsity = spec.sparsity.depthwise
                if index == 0 and spec.name.startswith(FRONT_IN_BLOCKS):
                    sparsity = 0.0
                zeros = pruned[name] == 0
                assert zeros.mean() == pytest.approx(sparsity, abs=0.5 / zeros.size + 1e-9)
                np.testing.assert_array_equal(later[name] == 0, zeros)
                if stage == "pred":  # the value path is frozen
                    np.testing.assert_array_equal(later[name], pruned[name])
                else:
                    assert (later[name] != pruned[name]).any()
    assert pruned["stem.weight"].all()
    for name in (name for name in pruned if "excitation" in name and "weight" in name):
        assert pruned[name].all()


@pytest.mark.slow
@pytest.mark.parametrize("family", [trained("mnasnet-modified-nano"), trained("shufflenet-nano")], indirect=True)
def test_resumed_equals_uninterrupted(family: tuple[NetworkSpec, Path]) -> None:
    spec, folder = family
    data = small_data()
    whole, halves = (replace(run_of(folder, spec, "quantized", recipe={"epochs": 2}), folder=folder / n) for n in ("a", "b"))
    train(whole, data, data)
    assert train(replace(halves, stop_after=1), data, data) is None
    train(replace(halves, resume=True), data, data)
    expected, resumed = (load_arrays(run.folder / "weights.npz") for run in (whole, halves))
    assert expected.keys() == resumed.keys()
    for key in expected:
        np.testing.assert_allclose(resumed[key], expected[key], rtol=1e-4, atol=1e-5)


def test_baselines_have_nothing_to_predict() -> None:
    spec = load_spec("shufflenet-nano")
    assert stages_of(spec) == ("vanilla", "pruned", "quantized")
    with pytest.raises(ArchonError, match="shufflenet-nano: expected one of the stages vanilla, pruned, quantized, got pred"):
        make_stage("pred", spec, QUICK, small_data(), "forward")


@pytest.mark.slow
def test_constraint_leaves_ternary_weights_in_a_pair(tmp_path: Path) -> None:
    spec, data = small_spec("shufflenet-modified-nano"), small_data()
    for stage, epochs in (("vanilla", 0), ("pruned", 1)):
        train(run_of(tmp_path, spec, stage, recipe={"epochs": epochs}), data, data)
    train(run_of(tmp_path, spec, "pred", predictor="constraint", recipe={"epochs": 1}), data, data)
    weights = load_arrays(tmp_path / "pred" / "checkpoint.npz")["blocks.0.predictor_expand.weight"]
    assert len(np.unique(np.abs(weights))) == 2
