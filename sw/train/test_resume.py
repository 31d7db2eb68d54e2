"""Runs that go on: none loses a row of its log, or mixes settings."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hw.contract.errors import ArchonError
from sw.__main__ import app
from sw.arrays import file_digest, load_arrays, save_arrays
from sw.curves import read_curves
from sw.datasets import DATASETS
from sw.run_folder import ACCURACY, CHECKPOINT, CONFIG, LOG, SPARSITY, SURVIVORS, WEIGHTS, logged_epochs, read_config, read_log
from sw.test_task import SPEC, excerpt_datasets
from sw.train import checkpoint
from sw.train.begun import PROLONGED, way_of
from sw.train.job import TrainingJob
from sw.train.options import Options
from sw.train.run import train
from sw.train.settings import START, Run, shapes
from sw.train.test_train import run_of, tiny_data

DATA = tiny_data(32)


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Steps are run one operation after the other: so few of them are faster without compiling."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage vanilla after the first of two epochs."""
    folder = tmp_path_factory.mktemp("once")
    tf.config.run_functions_eagerly(True)
    assert train(replace(two(folder), stop_after=1), DATA, DATA) is None
    return folder


@pytest.fixture
def begun(once: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(once, tmp_path / "begun"))


def two(folder: Path, **changes: Any) -> Run:
    """A run of two epochs."""
    return run_of(folder, recipe={"epochs": 2} | changes.pop("recipe", {}), **changes)


def held(folder: Path) -> dict[str, str]:
    """Digests of what a run folder holds."""
    return {path.name: file_digest(path) for path in folder.iterdir() if path.name in {CHECKPOINT, CONFIG, LOG, WEIGHTS}}


@pytest.mark.parametrize("cut", ["save_checkpoint", "write_log"])
def test_a_run_killed_at_the_end_of_an_epoch_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    run = run_of(tmp_path, recipe={"epochs": 2})
    assert train(replace(run, stop_after=1), DATA, DATA) is None

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            train(replace(run, resume=True), DATA, DATA)
    accuracy = train(replace(run, resume=True), DATA, DATA)
    rows = read_log(run.folder)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1][ACCURACY]) == accuracy


def test_a_run_with_other_settings_is_not_resumed(begun: Path) -> None:
    run, before = two(begun, resume=True), held(begun / "vanilla")
    images = shapes(DATA, DATA)
    expected: dict[str, Run] = {
        "survivors_first 1.0; got survivors_first 0.2:": two(begun, resume=True, recipe={"survivors_first": 0.2}),
        "survivors_first 1.0; got survivors_first (0.2, 0.3):": two(begun, resume=True, recipe={"survivors_first": (0.2, 0.3)}),
        "seed 0, decay 0.001; got seed 4, decay 0.5:": two(begun, resume=True, seed=4, recipe={"decay": 0.5}),
        "epochs 2; got epochs 3:": two(begun, resume=True, recipe={"epochs": 3}),
        "predictor forward; got predictor constraint:": two(begun, resume=True, predictor="constraint"),
        "network.sparsity.balanced False; got network.sparsity.balanced True:": replace(
            run, spec=run.spec.with_balanced_pruning()
        ),
    }
    for said, other in expected.items():
        with pytest.raises(ArchonError, match=re.escape(f"vanilla was begun with {said}")):
            way_of(other, images)
    more = tiny_data(64)
    with pytest.raises(
        ArchonError, match=r"vanilla was begun with images 32; got images 64: give the same, or begin again with"
    ):
        train(run, more, DATA)
    assert held(begun / "vanilla") == before
    with pytest.raises(ArchonError, match=r"was begun with resolution 8x8; got resolution 4x4"):
        way_of(run, images | {"training_images": [32, 4, 4, 3]})
    same: list[dict[str, Any]] = [{"evaluate_every": 2}, {"kernel": "keras"}, {"max_minutes": 9.0}, {"devices": 1}]
    for changes in same:
        assert way_of(two(begun, resume=True, **changes), shapes(DATA, more)).how == "resume"
    (begun / "vanilla" / CONFIG).write_text("{}")
    with pytest.raises(ArchonError, match=r"config\.json: expected the settings of a training run, got something else"):
        way_of(run, images)


def test_a_folder_that_says_less_is_resumed(begun: Path) -> None:
    config = read_config(begun / "vanilla")
    assert config is not None
    for name in ("dataset", "widened_from", "started_from", "training_images", "test_images", START):
        del config[name]
    del config["recipe"]["dense_predictors"]
    (begun / "vanilla" / CONFIG).write_text(json.dumps(config))
    assert way_of(two(begun, resume=True), shapes(DATA, DATA)).how == "resume"
    with pytest.raises(ArchonError, match="was begun with dataset cifar10; got dataset svhn"):
        way_of(two(begun, resume=True, dataset="svhn"), shapes(DATA, DATA))


def test_epochs_that_were_asked_for_prolong_a_run(begun: Path) -> None:
    assert Options(epochs=3).run("fusionet-nano").prolong
    assert not Options().run("fusionet-nano").prolong
    longer = two(begun, resume=True, prolong=True, recipe={"epochs": 3})
    assert train(replace(longer, stop_after=1), DATA, DATA) is None
    assert way_of(longer, shapes(DATA, DATA)).noted[PROLONGED] == [[1, 2, 3]]
    train(replace(longer, recipe=replace(longer.recipe, epochs=2)), DATA, DATA)
    config = read_config(begun / "vanilla") or {}
    assert (config[PROLONGED], config["recipe"]["epochs"]) == ([[1, 2, 3], [1, 3, 2]], 2)
    assert [row["epoch"] for row in read_log(begun / "vanilla")] == ["1", "2"]
    with pytest.raises(ArchonError, match=r"epochs: expected at least 2, which are done in .*, got 1"):
        train(replace(longer, recipe=replace(longer.recipe, epochs=1)), DATA, DATA)


def test_a_run_is_deleted_only_where_that_was_said(begun: Path) -> None:
    run, before = two(begun), held(begun / "vanilla")
    with pytest.raises(
        ArchonError, match=r"vanilla holds a run \(1 of 2 epochs\): expected --resume to continue it, or --anew"
    ):
        train(run, DATA, DATA)
    with pytest.raises(ArchonError, match="expected --resume or --anew, got both"):
        train(replace(run, resume=True, anew=True), DATA, DATA)
    assert held(begun / "vanilla") == before
    accuracy = train(replace(run, resume=True), DATA, DATA)
    assert accuracy is not None
    ended = held(begun / "vanilla")
    with pytest.raises(ArchonError, match=rf"2 epochs, finished, test accuracy {100 * accuracy:.2f} %"):
        train(run, DATA, DATA)
    assert train(replace(run, resume=True, evaluate_every=2), DATA, tiny_data(64)) == accuracy
    assert held(begun / "vanilla") == ended
    (begun / "vanilla" / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(ArchonError, match=r"is damaged: .*; --anew deletes the run and begins again"):
        train(run, DATA, DATA)
    assert train(replace(run, seed=1, anew=True, stop_after=0), DATA, DATA) is None
    assert set(held(begun / "vanilla")) == {CHECKPOINT, CONFIG}
    assert train(replace(run, stop_after=0), DATA, DATA) is None  # nothing was trained


def test_what_was_calibrated_alone_is_made_again(begun: Path) -> None:
    (begun / "vanilla").rename(begun / "pruned")
    config = (read_config(begun / "pruned") or {}) | {"stage": "pruned"}
    checkpoint.write_config(begun / "pruned", config | {ACCURACY: 0.5})
    run = run_of(begun, "pred", recipe={"epochs": 0})
    accuracy = train(run, DATA, DATA)
    [row] = read_log(run.folder)
    assert (row["epoch"], float(row[ACCURACY]), logged_epochs(read_log(run.folder))) == ("0", accuracy, 0)
    assert float(row["seconds"]) > 0
    assert all(0 < float(row[name]) < 1 for name in SURVIVORS)
    assert read_curves(run.folder)[SPARSITY] == [float(row[SPARSITY])]
    assert train(run, DATA, DATA) == accuracy
    before = held(run.folder)
    assert train(replace(run, resume=True), DATA, DATA) == accuracy
    assert held(run.folder) == before
    arrays = load_arrays(begun / "pruned" / CHECKPOINT)
    save_arrays(begun / "pruned" / CHECKPOINT, arrays | {"dense.bias": arrays["dense.bias"] + np.float32(1)})
    checkpoint.write_config(begun / "pruned", config)  # trained anew, and not at its end yet
    with pytest.raises(ArchonError, match=r"pred did not start from .*pruned.checkpoint\.npz as it is now"):
        train(replace(run, resume=True), DATA, DATA)
    assert held(run.folder) == before
    (begun / "pruned").rename(begun / "gone")
    assert train(replace(run, resume=True), DATA, DATA) == accuracy
    train(replace(run, resume=True, prolong=True, recipe=replace(run.recipe, epochs=1)), DATA, DATA)
    assert [row["epoch"] for row in read_log(run.folder)] == ["1"]


def test_the_command_says_what_became_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    path = tmp_path / "small.toml"
    path.write_text(SPEC, encoding="utf-8")
    few = ["--images", "128", "--test-images", "16", "--build", str(tmp_path / "build")]
    command = ["train", str(path), "--epochs", "1", *few]
    assert app(command, result_action="return_value") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "small vanilla: epochs: 1, images a step: 64, seed: 0; " in printed
    assert "stays as it is" not in printed
    assert app([*command, "--resume"], result_action="return_value") == 0
    assert "small vanilla: had finished before and stays as it is" in capsys.readouterr().out
    fewer = ["64" if word == "128" else word for word in command]
    for cluster in ([], ["--cluster", "local"]):
        assert app([*command, *cluster], result_action="return_value") == 2
        assert "expected --resume to continue it, or --anew to delete it" in capsys.readouterr().err
        assert app([*fewer, *cluster, "--resume"], result_action="return_value") == 2
        assert "images 128; got images 64" in capsys.readouterr().err
    seen: list[tuple[bool, bool]] = []

    def note(_: str, options: Options) -> int:
        seen.append((options.resume, options.anew))
        return 0

    monkeypatch.setattr("sw.train.job.train_here", note)
    options = Options(epochs=1, images=128, build=tmp_path / "build", anew=True)
    TrainingJob(str(path), options, {})()
    TrainingJob(str(path), options, {}, restarted=True)()
    assert seen == [(False, True), (True, False)]
