"""Limits on survivors, what the log says of survivors and sparsity, and runs that start from another one."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.bundle.network import FusedBlock as IntegerBlock
from sw.curves import PICTURE, read_curves
from sw.datasets import normalise
from sw.networks.fused import FusedBlock
from sw.networks.network import Network
from sw.run_folder import ACCURACY, CHECKPOINT, SPARSITY, SURVIVORS, WEIGHTS, read_log, read_settings
from sw.spec import load_spec
from sw.train.measures import measures, survivor_shares
from sw.train.options import Options
from sw.train.prediction import PredictionStage
from sw.train.quantization import QuantizationStage
from sw.train.recipe import STAGES, UNLIMITED, Recipe, find_recipe, parse_shares, shares_text, with_survivors
from sw.train.run import compile_model, train
from sw.train.settings import progress_of, start_of
from sw.train.stages import make_stage
from sw.train.test_train import QUICK, run_of, tiny_data, tiny_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, trained one after the other."""
    folder, data = tmp_path_factory.mktemp("survivors"), tiny_data(64)
    for stage in STAGES:
        train(run_of(folder, stage, recipe={"epochs": 2}), data, data)
    return folder


def test_limits_of_all_blocks_or_by_block() -> None:
    recipe = find_recipe(load_spec("fusionet-nano"), "pred")
    assert recipe.limits(3) == [(0.3, 0.2)] * 3
    changed = with_survivors(recipe, "0.4,0.3", "0.2", 0.5)
    assert changed.limits(2) == [(0.4, 0.2), (0.3, 0.2)]
    assert changed.survivor_ramp == 0.5
    assert Recipe(**{**dataclasses.asdict(changed), "survivors_first": [0.4, 0.3]}) == changed  # as JSON gives it back
    with pytest.raises(ArchonError, match=r"expected one, or one for each of 3 blocks, got 0\.4,0\.3"):
        changed.limits(3)
    with pytest.raises(ArchonError, match="expected a number, or one a block with commas between, got 'few'"):
        with_survivors(recipe, "few", None)
    with pytest.raises(ArchonError, match="survivor ramp: expected a fraction from 0 to 1, got 2"):
        with_survivors(recipe, None, None, 2)


@pytest.mark.parametrize("shares", [0.3, (0.4, 0.25)])
def test_shares_are_read_as_they_are_written(shares: Any) -> None:
    assert parse_shares(shares_text(shares)) == shares


def test_limits_fall_to_their_values() -> None:
    recipe = dataclasses.replace(
        QUICK, survivors_first=(0.3, 0.1), survivors_second=0.7, survivor_weight=2.0, survivor_ramp=0.5
    )
    stage = make_stage("pred", tiny_spec(), recipe, tiny_data(64), "forward")
    assert isinstance(stage, PredictionStage)
    predictors = [block.predictor for block in stage.model.blocks]

    def limits() -> list[list[float]]:
        return [[round(float(limit), 4) for limit in ops.convert_to_numpy(predictor.limits)] for predictor in predictors]

    stage.before_step(0, 40)
    assert limits() == [[UNLIMITED, 0.7], [UNLIMITED, 0.7]]  # a limit above what is usual holds at once
    stage.before_step(10, 40)
    assert limits() == [[0.4, 0.7], [0.3, 0.7]]
    stage.before_step(20, 40)
    assert limits() == [[0.3, 0.7], [0.1, 0.7]]
    stage.before_step(21, 40)
    assert limits() == [[0.3, 0.7], [0.1, 0.7]]


def test_what_is_beyond_the_limit_costs() -> None:
    recipe = dataclasses.replace(QUICK, survivors_first=0.3, survivors_second=1.0, survivor_weight=2.0, survivor_ramp=1.0)
    stage = make_stage("pred", tiny_spec(), recipe, tiny_data(64), "forward")
    predictor, x = stage.model.blocks[0].predictor, np.ones((8, 8, 8, 8), np.float32)
    predictor.expand.norm.gamma.assign(np.zeros(24))
    predictor.expand.norm.beta.assign(np.full(24, 50.0))  # all survive
    for step, limit in ((0, 0.5), (5, 0.4), (10, 0.3)):
        stage.before_step(step, 10)
        predictor(x, training=True)
        assert float(predictor.losses[0]) == pytest.approx(2 * (1 - limit), abs=1e-3)


def test_logs_have_sparsity_and_survivors(folder: Path) -> None:
    for stage in STAGES:
        rows = read_log(folder / stage)
        assert len(rows) == 2
        for row in rows:
            assert 0 < float(row[SURVIVORS[0]]) < 1
            assert 0 < float(row[SURVIVORS[1]]) < 1
        sparsity = [float(row[SPARSITY]) for row in rows]
        assert sparsity == [0, 0] if stage == "vanilla" else min(sparsity) > 0.5
        picture = (folder / stage / PICTURE).read_text(encoding="utf-8")
        assert picture.count('<g id="axes_') == 4
    pruned = [float(row[SPARSITY]) for row in read_log(folder / "pruned")]
    assert pruned[0] <= pruned[1]


def test_survivors_by_their_sign_or_by_the_predictor() -> None:
    images = tiny_data(8).images
    for predicted in (False, True):
        model = Network(tiny_spec(), predicted=predicted)
        x = model.front(normalise(images))
        block = model.blocks[0]
        assert isinstance(block, FusedBlock)
        z1 = block.expand(x)
        masks = (z1 > 0, block.depthwise(ops.relu(z1)) > 0)
        if block.predictor is not None:
            r1, s2 = block.predictor(x)
            masks = (r1 > 0, s2 > 0)
        shares = [float(np.mean(np.asarray(mask))) for mask in masks]
        assert survivor_shares(model, images)[0] == pytest.approx(shares)
        means = np.mean(np.array(survivor_shares(model, images), np.float64), axis=0)
        found = measures(model, images)
        assert [found[name] for name in SURVIVORS] == pytest.approx(means)


def test_networks_without_predictors_have_no_survivors() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert set(measures(Network(load_spec("mobilenetv2-nano")), images)) == {SPARSITY}
    assert set(measures(Network(load_spec("shufflenet-modified-nano")), images)) == {SPARSITY, SURVIVORS[0]}


def test_a_run_may_start_from_another_one(folder: Path, tmp_path: Path) -> None:
    data, start = tiny_data(64), folder / "quantized"
    run = run_of(tmp_path, "quantized", recipe={"epochs": 1}, start=start)
    assert start_of(run) == start / CHECKPOINT
    train(run, data, data)
    assert str(read_settings(run.folder).started_from).endswith(f"{folder.name}/quantized")
    assert progress_of(run) == "finished"
    assert progress_of(dataclasses.replace(run, start=folder / "pred")) == "waiting"


def test_starts_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path, "quantized", start=tmp_path / "nothing")
    with pytest.raises(ArchonError, match=r"nothing.checkpoint\.npz is missing: expected a run folder to start from"):
        start_of(run)
    both = dataclasses.replace(run, start=folder / "pred", widen=folder / "pred")
    with pytest.raises(ArchonError, match="expected start or widen, got both"):
        start_of(both)
    assert Options(start=folder, stage="quantized").run("fusionet-nano").start == folder


@pytest.mark.parametrize("dense", [False, True])
def test_dense_predictors_grow_where_pruning_left_nothing(folder: Path, dense: bool) -> None:
    recipe = dataclasses.replace(QUICK, dense_predictors=dense, rate=0.2)
    stage = make_stage("pred", tiny_spec(), recipe, tiny_data(64), "forward")
    assert isinstance(stage, PredictionStage)
    start = folder / "pruned" / CHECKPOINT
    arrays = load_arrays(start)
    pruned = {part: np.asarray(arrays[f"blocks.0.{part}.mask"]) == 0 for part in ("expand", "depthwise")}
    arrays["blocks.0.expand.mask"][3] = 0  # a channel without value
    dead = np.arange(24) == 3
    stage.start_from(arrays, start)
    block = stage.model.blocks[0]
    layers = {"expand": block.predictor.expand, "depthwise": block.predictor.depthwise}
    for part, layer in layers.items():
        assert not np.asarray(layer.masked())[pruned[part]].any()  # nothing has grown yet
    compile_model(stage.model, recipe)
    images, labels = normalise(tiny_data(64).images), np.eye(10, dtype=np.float32)[tiny_data(64).labels]
    for _ in range(4):
        stage.model.train_on_batch(images, labels)
    for part, layer in layers.items():
        assert bool(np.asarray(layer.masked())[pruned[part]].any()) == dense
    assert not np.asarray(layers["expand"].masked())[dead].any()


def test_options_say_what_they_ask_for() -> None:
    asked = Options(stage="quantized", dense_predictors=False, balanced=True, survivor_ramp=0.25)
    assert asked.arguments("fusionet-nano") == [
        "fusionet-nano", "--balanced", "--survivor-ramp", "0.25", "--no-dense-predictors", "--stage", "quantized",
    ]  # fmt: skip
    assert not asked.run("fusionet-nano").recipe.dense_predictors
    assert Options(stage="pred", dense_predictors=True).run("fusionet-nano").recipe.dense_predictors


def test_a_value_path_without_biases(folder: Path) -> None:
    recipe, start = dataclasses.replace(QUICK, value_biases=False), folder / "pred" / CHECKPOINT
    stage = make_stage("quantized", tiny_spec(), recipe, tiny_data(64), "forward")
    stage.start_from(load_arrays(start), start)
    compile_model(stage.model, recipe)
    images, labels = normalise(tiny_data(64).images), np.eye(10, dtype=np.float32)[tiny_data(64).labels]
    before = {part: np.array(stage.weights()[f"blocks.0.{part}.weight"]) for part in ("expand", "depthwise")}
    stage.model.train_on_batch(images, labels)
    for part, weight in before.items():
        assert (stage.weights()[f"blocks.0.{part}.weight"] != weight).any()
        assert not stage.weights()[f"blocks.0.{part}.offset"].any()
    assert stage.weights()["blocks.0.project.offset"].any()
    assert stage.weights()["blocks.0.predictor_expand.offset"].any()
    assert isinstance(stage, QuantizationStage)
    block = stage.quantized().network.blocks[0]
    assert isinstance(block, IntegerBlock)
    assert not block.expand_bias.any()
    assert not block.depthwise_bias.any()


def test_evaluation_may_be_rarer(tmp_path: Path) -> None:
    data = tiny_data(64)
    often, rarely = (train(run_of(tmp_path / str(every), evaluate_every=every), data, data) for every in (1, 2))
    logs = [read_log(tmp_path / str(every) / "vanilla") for every in (1, 2)]
    assert often == rarely
    assert [row[ACCURACY] != "" for row in logs[1]] == [False, True, True]  # every second one, and the last
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert float(logs[1][1][ACCURACY]) == float(logs[0][1][ACCURACY])
    assert np.isnan(read_curves(tmp_path / "2" / "vanilla")[ACCURACY][0])
    with pytest.raises(ArchonError, match="evaluate-every: expected 1 or more, got 0"):
        Options(evaluate_every=0).run("fusionet-nano")


def test_a_pruned_network_that_is_trained_on_stays_pruned(folder: Path, tmp_path: Path) -> None:
    assert Options(start=folder / "pruned", stage="pruned").run("fusionet-nano").recipe.ramp == 0
    data, run = tiny_data(64), run_of(tmp_path, "pruned", recipe={"epochs": 1, "ramp": 0.0}, start=folder / "pruned")
    train(run, data, data)
    before, after = (load_arrays(path / CHECKPOINT) for path in (folder / "pruned", run.folder))
    assert any((before[name] != after[name]).any() for name in before if name.endswith(".weight"))
    for name in before:
        if name.endswith(".mask"):
            np.testing.assert_array_equal(after[name], before[name])


def test_a_network_that_is_not_pruned_yet_is_pruned(folder: Path, tmp_path: Path) -> None:
    ramp = Options(start=folder / "vanilla", stage="pruned").run("fusionet-nano").recipe.ramp
    assert ramp == find_recipe(load_spec("fusionet-nano"), "pruned").ramp > 0
    data, run = tiny_data(64), run_of(tmp_path, "pruned", recipe={"epochs": 2, "ramp": ramp}, start=folder / "vanilla")
    train(run, data, data)
    assert float(read_log(run.folder)[-1][SPARSITY]) > 0.7  # depthwise 0.7, the rest 0.8


@pytest.mark.parametrize(("ramp", "epochs"), [(0.0, 1), (1.0, 1), (0.5, 0)])
def test_a_run_that_has_not_pruned_is_not_finished(folder: Path, tmp_path: Path, ramp: float, epochs: int) -> None:
    data, recipe = tiny_data(64), {"epochs": epochs, "ramp": ramp}
    run = run_of(tmp_path, "pruned", recipe=recipe, start=folder / "vanilla")
    with pytest.raises(ArchonError, match=r"expected a sparsity of 0\.8 at the end of stage pruned, got 0\."):
        train(run, data, data)
    assert progress_of(run) != "finished"
    assert not (run.folder / WEIGHTS).exists()
