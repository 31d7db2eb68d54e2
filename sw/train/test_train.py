"""Training: pruning, the predictor's stage, resuming, and the command line, on a network of a few hundred weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.datasets import ImageSet, normalise
from sw.networks.limits import Survivors
from sw.networks.network import Network
from sw.quantize import quantize_value_path
from sw.quantize.weights import value_path
from sw.run_folder import locked, read_log
from sw.spec import NetworkSpec, load_spec, parse_spec
from sw.train import checkpoint
from sw.train import run as running
from sw.train.__main__ import main
from sw.train.augment import ahead, augment, training_batches
from sw.train.options import Options
from sw.train.prediction import PredictionStage, PredictorPlan, activation_scales, level_shifts, scale_chains
from sw.train.pruning import PruningStage, balanced_mask, magnitude_mask, rising_sparsity, sparsity_of
from sw.train.recipe import STAGES, Recipe
from sw.train.run import train
from sw.train.settings import Run
from sw.train.stage import FallingLimits
from sw.train.stages import make_stage

QUICK = Recipe(epochs=3, rate=0.05, final_rate=0.01, batch=32, ramp=0.5, decay=1e-3)


def tiny_spec() -> NetworkSpec:
    values = load_spec("fusionet-nano").model_dump()
    block = {"in_channels": 8, "expanded_channels": 24, "out_channels": 8, "kernel": 3, "stride": 1}
    block |= {"groups": 4, "residual": True, "shuffle": True}
    changes: dict[str, Any] = {
        "name": "tiny",
        "height": 8,
        "width": 8,
        "stem": {"channels": 8, "kernel": 3, "stride": 1},
        "first_pointwise": {"channels": 8, "groups": 4, "shuffle": True},
        "blocks": [block, block | {"stride": 2, "residual": False, "out_channels": 12}],
        "last_pointwise": {"channels": 16, "groups": 4},
    }
    return parse_spec(values | changes)


def tiny_data(count: int = 256, seed: int = 0) -> ImageSet:
    """Noise images of eight classes; which of red, green and blue are brighter tells the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 8, count).astype(np.uint8)
    images = random.integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    images += np.uint8(130) * (labels[:, None, None, None] >> np.arange(3, dtype=np.uint8) & 1)
    return ImageSet(images, labels)


def run_of(folder: Path, stage: str = "vanilla", **changes: Any) -> Run:
    return Run(tiny_spec(), stage, replace(QUICK, **changes.pop("recipe", {})), folder / stage, **changes)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float | None]]:
    """All stages, trained one after the other."""
    folder = tmp_path_factory.mktemp("train")
    data = tiny_data()
    return folder, {stage: train(run_of(folder, stage), data, data) for stage in STAGES}


def test_training_learns(stages: tuple[Path, dict[str, float | None]]) -> None:
    folder, accuracies = stages
    assert accuracies["vanilla"] is not None
    assert accuracies["vanilla"] > 0.3
    config = json.loads((folder / "vanilla" / "config.json").read_text())
    assert config["test_accuracy"] == accuracies["vanilla"]
    assert config["seed"] == 0
    rows = read_log(folder / "vanilla", 9)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"])


def test_files_hold_what_export_promises(stages: tuple[Path, dict[str, float | None]]) -> None:
    arrays = load_arrays(stages[0] / "pred" / "weights.npz")
    shapes = {
        "stem.weight": (8, 3, 3, 3),
        "first_pointwise.weight": (8, 2),
        "first_depthwise.weight": (8, 3, 3),
        "blocks.1.expand.weight": (24, 2),
        "blocks.1.depthwise.weight": (24, 3, 3),
        "blocks.1.project.weight": (12, 6),
        "blocks.1.project.offset": (12,),
        "blocks.1.predictor_expand.weight": (24, 2),
        "blocks.1.predictor_expand.alpha": (),
        "blocks.1.predictor_depthwise.weight": (24, 3, 3),
        "blocks.1.predictor.shift": (24,),
        "blocks.1.input_scale": (),
        "last_pointwise.weight": (16, 3),
        "last_pointwise.input_scale": (),
        "dense.weight": (10, 16),
        "dense.bias": (10,),
    }
    assert {name: arrays[name].shape for name in shapes} == shapes
    for name in ("blocks.0.predictor_expand.weight", "blocks.0.predictor_depthwise.weight"):
        assert arrays[name].dtype == np.int8
        assert set(np.unique(arrays[name])) == {-1, 0, 1}


def test_zeros_stay_zero(stages: tuple[Path, dict[str, float | None]]) -> None:
    pruned = load_arrays(stages[0] / "pruned" / "weights.npz")
    pred = load_arrays(stages[0] / "pred" / "weights.npz")
    for block in range(2):
        for part, sparsity in (("expand", 0.8), ("depthwise", 0.7), ("project", 0.8)):
            zeros = pruned[f"blocks.{block}.{part}.weight"] == 0
            assert zeros.mean() == pytest.approx(sparsity, abs=0.5 / zeros.size + 1e-9)
            np.testing.assert_array_equal(pred[f"blocks.{block}.{part}.weight"] == 0, zeros)
            if part != "project":
                assert not pred[f"blocks.{block}.predictor_{part}.weight"][zeros].any()
    zeros = pruned["last_pointwise.weight"] == 0
    assert zeros.mean() == pytest.approx(0.8, abs=0.02)
    for stage in ("pred", "quantized"):
        later = load_arrays(stages[0] / stage / "weights.npz")["last_pointwise.weight"]
        np.testing.assert_array_equal(later == 0, zeros)
        assert (later != pruned["last_pointwise.weight"]).any()
    assert pruned["stem.weight"].all()
    assert pruned["first_pointwise.weight"].all()
    assert pruned["first_depthwise.weight"].all()


def test_value_path_is_frozen_in_pred(stages: tuple[Path, dict[str, float | None]]) -> None:
    pruned = load_arrays(stages[0] / "pruned" / "weights.npz")
    pred = load_arrays(stages[0] / "pred" / "weights.npz")
    for name in ("stem", "first_pointwise", "first_depthwise", "blocks.0.expand", "blocks.1.depthwise"):
        for part in ("weight", "scale", "offset"):
            np.testing.assert_array_equal(pruned[f"{name}.{part}"], pred[f"{name}.{part}"])
    np.testing.assert_array_equal(pruned["blocks.0.project.weight"], pred["blocks.0.project.weight"])
    assert (pruned["blocks.0.project.offset"] != pred["blocks.0.project.offset"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pruned", "pred"])
def test_resumed_equals_uninterrupted(stages: tuple[Path, dict[str, float | None]], tmp_path: Path, stage: str) -> None:
    data = tiny_data()
    for before in STAGES[: STAGES.index(stage)]:
        (tmp_path / before).symlink_to(stages[0] / before)
    assert train(run_of(tmp_path, stage, max_minutes=0.0), data, data) is None
    assert not (tmp_path / stage / "weights.npz").exists()
    train(run_of(tmp_path, stage, resume=True, stop_after=1), data, data)
    assert len(read_log(tmp_path / stage, 9)) == 1
    train(run_of(tmp_path, stage, resume=True), data, data)
    expected, resumed = (load_arrays(folder / stage / "weights.npz") for folder in (stages[0], tmp_path))
    assert expected.keys() == resumed.keys()
    for name in expected:
        np.testing.assert_allclose(resumed[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_constraint_leaves_ternary_weights(stages: tuple[Path, dict[str, float | None]], tmp_path: Path) -> None:
    for stage in ("vanilla", "pruned"):
        (tmp_path / stage).symlink_to(stages[0] / stage)
    data = tiny_data()
    train(run_of(tmp_path, "pred", predictor="constraint", recipe={"epochs": 1}), data, data)
    weights = load_arrays(tmp_path / "pred" / "checkpoint.npz")["blocks.0.predictor_expand.weight"]
    assert len(np.unique(np.abs(weights))) == 2


def test_stage_before_must_exist(tmp_path: Path) -> None:
    data = tiny_data(32)
    with pytest.raises(ArchonError, match=r"stage pruned starts from .*vanilla/checkpoint\.npz, which is missing"):
        train(run_of(tmp_path, "pruned"), data, data)


def test_checkpoint_of_another_network_is_refused(stages: tuple[Path, dict[str, float | None]], tmp_path: Path) -> None:
    (tmp_path / "vanilla").symlink_to(stages[0] / "vanilla")
    values = tiny_spec().model_dump()
    values["last_pointwise"]["channels"] = 20
    run = replace(run_of(tmp_path, "pruned"), spec=parse_spec(values))
    with pytest.raises(ArchonError, match="tiny, got one of another tiny: they differ in last_pointwise"):
        train(run, tiny_data(32), tiny_data(32))
    path = stages[0] / "vanilla" / "checkpoint.npz"
    with pytest.raises(ArchonError, match=r"expected dense\.weight of shape \(20, 10\), got \(16, 10\)"):
        checkpoint.assign(Network(run.spec).named_variables(), load_arrays(path), path)


def test_one_process_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    run = run_of(tmp_path, "vanilla")
    with locked(run.folder), pytest.raises(ArchonError, match=r"another process trains in .*vanilla: expected one at a time"):
        train(run, tiny_data(32), tiny_data(32))


def test_damaged_checkpoint_is_refused(stages: tuple[Path, dict[str, float | None]], tmp_path: Path) -> None:
    (tmp_path / "vanilla").mkdir()
    content = (stages[0] / "vanilla" / "checkpoint.npz").read_bytes()
    (tmp_path / "vanilla" / "checkpoint.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArchonError, match=r"checkpoint\.npz is damaged"):
        train(run_of(tmp_path, "vanilla", resume=True), tiny_data(32), tiny_data(32))


def test_sparsity_rises_with_the_third_power() -> None:
    assert rising_sparsity(0.8, 0) == 0
    assert rising_sparsity(0.8, 0.5) == pytest.approx(0.7)
    assert rising_sparsity(0.8, 1) == rising_sparsity(0.8, 2) == 0.8


def test_mask_drops_the_smallest() -> None:
    weight = np.array([[0.5, -0.1], [0.2, -0.9], [0.05, 0.3]], np.float32)
    assert magnitude_mask(weight, 0.5).tolist() == [[1, 0], [0, 1], [0, 1]]
    assert magnitude_mask(weight, 0).all()


def test_balanced_mask_drops_the_smallest_of_each_input_channel_of_a_group() -> None:
    groups = [[[0.5, -0.1], [0.2, -0.9]], [[0.05, 0.3], [-0.06, 0.1]]]
    assert balanced_mask(np.array(groups, np.float32).reshape(4, 2), 0.5, 2).tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]


def test_balanced_pruning_keeps_as_many_weights_of_each_input_channel() -> None:
    spec = tiny_spec().with_balanced_pruning()
    stage = PruningStage(Network(spec), spec.sparsity, 0.5)
    stage.before_step(10, 20)
    for block in stage.model.blocks:
        kept = np.asarray(block.expand.masked()).reshape(4, 6, 2) != 0
        assert (kept.sum(axis=1) == 6 - round(0.8 * 6)).all()
        assert sparsity_of(block.project) == pytest.approx(0.8, abs=0.03)


def test_quantized_weights_are_those_of_the_export(stages: tuple[Path, dict[str, float | None]]) -> None:
    weights = load_arrays(stages[0] / "quantized" / "weights.npz")
    state = load_arrays(stages[0] / "quantized" / "checkpoint.npz")
    for index, spec in enumerate(tiny_spec().fused_blocks):
        name = f"blocks.{index}"
        integers = quantize_value_path(value_path(weights, name, spec), float(weights[f"{name}.input_scale"]))
        folded = integers.expand_weight * integers.expand_scale[:, None]
        used = weights[f"{name}.expand.weight"] + state[f"{name}.expand.rounding"]
        np.testing.assert_allclose(used * weights[f"{name}.expand.scale"][:, None], folded, rtol=1e-4, atol=1e-6)
        assert np.abs(state[f"{name}.project.rounding"]).max() > 0
    before = load_arrays(stages[0] / "pred" / "weights.npz")["blocks.0.expand.weight"]
    assert (weights["blocks.0.expand.weight"] != before).any()
    np.testing.assert_array_equal(weights["blocks.0.expand.weight"] == 0, before == 0)


def test_quantized_activations_are_int8(stages: tuple[Path, dict[str, float | None]]) -> None:
    arrays = load_arrays(stages[0] / "quantized" / "checkpoint.npz")
    model = Network(tiny_spec(), predicted=True, quantized=True)
    checkpoint.assign(model.named_variables(), arrays, stages[0])
    x = model.front(normalise(tiny_data(16).images))
    scales = [arrays["blocks.0.predictor.input_scale"], *(arrays[f"blocks.{i}.output_scale"] for i in range(2))]
    assert scales[1] == arrays["blocks.1.predictor.input_scale"]
    assert scales[2] == arrays["last_pointwise.input_scale"]
    for block, scale in zip([None, *model.blocks], scales, strict=True):
        x = x if block is None else block(x)
        levels = np.asarray(x) / scale
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        assert -128.001 < levels.min() < levels.max() < 127.001


def test_masks_are_frozen_after_the_ramp() -> None:
    model = Network(tiny_spec())
    stage = PruningStage(model, tiny_spec().sparsity, ramp=0.5)
    stage.before_step(5, 10)
    layer = model.blocks[0].expand
    assert sparsity_of(layer) == pytest.approx(0.8, abs=0.02)
    mask = np.asarray(layer.mask).copy()
    layer.weight.assign(np.random.default_rng(0).normal(size=layer.weight.shape))
    stage.before_step(6, 10)
    np.testing.assert_array_equal(layer.mask, mask)


def test_residual_chains_share_a_scale() -> None:
    assert scale_chains(load_spec("fusionet-nano")) == [0, 0, 2, 2, 2, 2]
    model = Network(tiny_spec(), predicted=True)
    PredictionStage(model, tiny_data(64), PredictorPlan())
    scales = activation_scales(model, tiny_data(16).images.astype(np.float32))
    assert scales[0] == scales[1] != scales[2]


def test_calibration_starts_from_the_survivors_asked_for(stages: tuple[Path, dict[str, float | None]]) -> None:
    model = Network(tiny_spec(), predicted=True)
    stage = PredictionStage(model, tiny_data(256), PredictorPlan(limits=FallingLimits([Survivors(0.25, 0.1, 1.0)] * 2, 0.0)))
    path = stages[0] / "vanilla" / "checkpoint.npz"
    stage.start_from(load_arrays(path), path)
    block = model.blocks[0]
    assert block.predictor is not None
    levels, s2 = block.predictor(model.front(normalise(tiny_data(256).images)))
    # The first sums are integers, so that many of them tie at the threshold.
    assert 0.15 < (np.asarray(levels) > 0).mean() <= 0.2501
    assert 0.05 < (np.asarray(s2) > 0).mean() <= 0.1001


def test_level_shifts_by_hand() -> None:
    excess = np.tile(np.array([-5, 15, 15.1, 30, 31, 500], np.float32), (1, 4, 4, 1))
    assert level_shifts(excess).tolist() == [0, 0, 1, 1, 2, 3]


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    data = tiny_data(40)
    first, again, later = (list(training_batches(data, 10, 16, 3, epoch)) for epoch in (0, 0, 1))
    assert len(first) == 2
    np.testing.assert_array_equal(first[1][0], again[1][0])
    assert (first[1][0] != later[1][0]).any()
    assert first[0][1].sum(1).tolist() == [1] * 16


@pytest.mark.parametrize(("dataset", "seen"), [("cifar10", {-1, 1}), ("svhn", {1})])
def test_digits_are_never_mirrored(dataset: str, seen: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rising = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[:, None], (64, 32, 32, 3))
    found: set[int] = set()

    def look(_model: Any, images: np.ndarray, _labels: np.ndarray) -> float:
        found.update(np.sign(images[:, 16, 17, 0] - images[:, 16, 14, 0]).astype(int).tolist())
        return 0.0

    monkeypatch.setattr(running, "_train_step", look)
    run = run_of(tmp_path, dataset=dataset)
    data = ImageSet(np.ascontiguousarray(rising), np.zeros(64, np.uint8))
    stage = make_stage("vanilla", run.spec, run.recipe, data, "forward")
    running.compile_model(stage.model, run.recipe)
    running.train_epoch(run, stage, data, 0)
    assert found == seen


def test_batches_made_ahead_are_the_same() -> None:
    data = tiny_data(200)
    alone, made_ahead = (list(f(training_batches(data, 10, 16, 3, 0))) for f in (iter, ahead))
    assert len(alone) == len(made_ahead) == 12
    for expected, got in zip(alone, made_ahead, strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])

    def failing() -> Iterator[Any]:
        yield alone[0]
        raise ArchonError("no more")

    with pytest.raises(ArchonError, match="no more"):
        list(ahead(failing()))
    taken = next(ahead(iter(alone)))
    np.testing.assert_array_equal(taken[0], alone[0][0])


def test_augmentation_shifts_and_flips() -> None:
    position = np.zeros((400, 32, 32, 3), np.float32)
    position[:, 16, 10] = 1
    moved = augment(position, np.random.default_rng(0))
    _, rows, columns = np.nonzero(moved[..., 0])
    assert sorted(set(rows)) == list(range(12, 21))
    assert set(columns) == set(range(6, 15)) | set(range(17, 26))


def test_command_line_reports_errors_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("resnet", options=Options(build=tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: unknown network 'resnet': expected one of fusionet")
    assert list(tmp_path.iterdir()) == []
