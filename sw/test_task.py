"""Networks for data sets, and the command line from training to a bundle."""

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from sw import evaluation
from sw.__main__ import app
from sw.bundle import load_bundle
from sw.command import REFUSED
from sw.datasets import DATASETS, Dataset, ImageSet, load_excerpt
from sw.export.__main__ import trained_weights
from sw.run_folder import ACCURACY, CONFIG, KEPT_RUNS, WEIGHTS
from sw.spec import load_spec
from sw.task import images_for, network_for

SPEC = """
name = "small"
height = 16
width = 16
channels = 3
classes = 10
stem = {channels = 8, kernel = 3, stride = 2}
sparsity = {pointwise = 0.5, depthwise = 0.5}
[[blocks]]
kind = "unfused"
in_channels = 8
expanded_channels = 16
out_channels = 12
kernel = 3
stride = 2
groups = 1
"""


def say(net: str, **_: object) -> int:
    """In place of the golden model, which takes its time over a whole test set."""
    print(net)
    return 0


def excerpt_datasets() -> dict[str, Any]:
    """The excerpt in place of all data sets, its labels spread over CIFAR-100's classes there."""
    excerpt = load_excerpt()

    def load(dataset: Dataset, split: str, folder: Path | None) -> ImageSet:
        assert split in {"train", "test"}
        assert folder is None
        images = np.tile(excerpt.images, (2, 1, 1, 1))
        return ImageSet(images, np.arange(len(images), dtype=np.uint8) % dataset.classes)

    return {name: replace(dataset, load=partial(load, dataset)) for name, dataset in DATASETS.items()}


@pytest.fixture
def excerpt_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)


def test_speeds_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SPEC.replace("16", "32"), encoding="utf-8")
    assert app(["speed", str(path), "--steps", "2"], result_action="return_value") == 0
    printed = capsys.readouterr().out
    assert float(printed.split("the pipeline is ")[1].split()[0].replace(",", "")) > 0
    assert app(["speed", str(path), "--steps", "0"], result_action="return_value") == 2
    assert "steps: expected at least 1, got 0" in capsys.readouterr().err


@pytest.mark.usefixtures("excerpt_as_data")
@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["speed", "fusionet-nano"], "sw.train.speed"),
        (["precision", "fusionet-nano", "--only", "plain"], "sw.train.precision"),
        (["evaluate", "fusionet-nano", "--stage", "pruned"], "sw.train.evaluation"),
    ],
)
def test_without_keras_it_is_said_what_is_missing(
    words: list[str], module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert app(words, result_action="return_value") == REFUSED
    assert f"needs {module}, which is not installed: `make train` installs it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    ["report --images 1.5", "evaluate --images 1.5", "precision --steps 0.5", "survivors --epochs 1.5", "speed --steps 2.5"],
)
def test_numbers_are_not_rounded(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *rest = words.split()
    with pytest.raises(SystemExit):
        app([command, "no-such-network", *rest])
    said = " ".join(capsys.readouterr().err.replace("│", "").split())
    assert f"expected a whole number, got {rest[-1]}" in said


@pytest.mark.usefixtures("excerpt_as_data")
def test_networks_are_called_after_what_they_are_for() -> None:
    assert network_for("fusionet-nano", "cifar10") == load_spec("fusionet-nano")
    assert network_for("fusionet", "cifar100") == load_spec("fusionet", 100)
    svhn = network_for("fusionet-nano", "svhn")
    assert (svhn.name, svhn.classes) == ("fusionet-nano-svhn", 10)
    assert images_for(load_spec("fusionet-nano"), "svhn", "test").images.shape == (200, 32, 32, 3)
    with pytest.raises(ArchonError, match="unknown data set 'imagenet'"):
        network_for("fusionet", "imagenet")


def test_seeds_have_folders_of_their_own(tmp_path: Path) -> None:
    spec, folder = load_spec("shufflenet-nano"), tmp_path / "shufflenet-nano"
    weights = [folder / parent / "quantized" / WEIGHTS for parent in ("train", "train-seed-3")]
    for path in weights:
        path.parent.mkdir(parents=True)
        path.touch()
    assert [trained_weights(spec, tmp_path, seed) for seed in (0, 3, 4)] == [*weights, None]


def test_runs_that_come_with_the_project_are_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], load=lambda *_: load_excerpt()))
    words = ["evaluate", "mobilenetv2-nano", "--images", "20", "--build", str(tmp_path)]
    assert app([*words, "--stage", "quantized"], result_action="return_value") == 0
    assert "of 20 test images" in (printed := capsys.readouterr().out)
    assert printed.strip().endswith("runs/mobilenetv2-nano/quantized")
    assert float(printed.split("accuracy ")[1].split(" %")[0]) >= 50
    own = tmp_path / "mobilenetv2-nano" / "train" / "quantized"
    shutil.copytree(KEPT_RUNS / "mobilenetv2-nano" / "quantized", own)
    config = json.loads((own / CONFIG).read_text(encoding="utf-8"))
    wrong = {
        "expected a run that has ended, got one that was cut off": config | {ACCURACY: None},
        "they differ in classes": config | {"network": config["network"] | {"classes": 7}},
    }
    for said, settings in wrong.items():
        (own / CONFIG).write_text(json.dumps(settings), encoding="utf-8")
        assert app([*words, "--stage", "quantized"], result_action="return_value") == 2
        assert said in capsys.readouterr().err.replace("\n", " ")
    assert app([*words, "--stage", "quantized", "--seed", "3"], result_action="return_value") == 2
    assert "train-seed-3/quantized/weights.npz is missing" in capsys.readouterr().err
    assert app([*words, "--stage", "pruned", "--workers", "1"], result_action="return_value") == 2
    assert "--workers: expected a bundle, no --stage, with it, got 1 without" in capsys.readouterr().err
    assert app([*words, "--seed", "3"], result_action="return_value") == 2
    assert "--seed: expected --stage with it, got 3 without" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("excerpt_as_data")
def test_from_training_to_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, build = tmp_path / "small.toml", ["--build", str(tmp_path)]
    path.write_text(SPEC, encoding="utf-8")
    few, reached = ["--dataset", "cifar100", *build], {}
    monkeypatch.setattr(evaluation, "evaluate_command", say)
    for stage in ("vanilla", "pruned", "quantized"):
        assert app(["train", str(path), "--stage", stage, "--epochs", "1", *few], result_action="return_value") == 0
        assert (tmp_path / "small-100" / "train" / stage / "weights.npz").exists()
        trained = capsys.readouterr().out.split("test accuracy ")[1].split(",")[0]
        assert app(["evaluate", str(path), "--stage", stage, *few], result_action="return_value") == 0
        reached[stage] = float(trained.split()[0])
        assert f"small-100 {stage}: accuracy {trained} of 200 test images" in capsys.readouterr().out.replace("\n", " ")
    train, moved = (tmp_path / "small-100" / name for name in ("train", "train-seed-3"))
    train.rename(moved)
    assert app(["evaluate", str(path), "--stage", "quantized", "--seed", "3", *few], result_action="return_value") == 0
    assert f"accuracy {trained} of 200 test images" in capsys.readouterr().out.replace("\n", " ")
    assert app(["export", str(path), "--weights", "trained", "--seed", "3", *few], result_action="return_value") == 0
    moved.rename(train)
    network = load_bundle(tmp_path / "small-100" / "small-100.archon")
    assert network.provenance["dataset"] == "cifar100"
    assert network.dense_weight.shape == (100, 12)
    bundle = str(tmp_path / "small-100" / "small-100.archon")
    assert app(["report", bundle, "--images", "2", *build], result_action="return_value") == 0
    numbers = json.loads((tmp_path / "small-100" / "small-100.json").read_text(encoding="utf-8"))
    assert {stage: round(100 * accuracy, 2) for stage, accuracy in numbers["stages"].items()} == reached
    assert [image["label"] for image in numbers["images"]] == ["0", "1"]
    assert app(["train", str(path), "--stage", "pred", *few], result_action="return_value") == 2
    assert "none of this network's blocks is fused" in capsys.readouterr().err
    assert app(["evaluate", "shufflenet", "--dataset", "svhn", *build], result_action="return_value") == 2
    assert "or a bundle that comes with the project, of shufflenet-svhn" in capsys.readouterr().err
    assert app(["evaluate", "fusionet-nano", *build], result_action="return_value") == 0
    assert capsys.readouterr().out.strip().endswith("trained/fusionet-nano.archon")
