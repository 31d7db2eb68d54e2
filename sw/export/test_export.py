"""The exporter's command line: a whole bundle or one sentence and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sw.bundle import load_bundle
from sw.datasets import ImageSet, load_excerpt
from sw.export import __main__ as exporter
from sw.golden import run
from sw.quantize.test_network import small_spec, trained_arrays
from sw.run_folder import CONFIG, WEIGHTS
from sw.spec import NetworkSpec

SPEC = """
name = "small"
height = 32
width = 32
channels = 3
classes = 10
stem = {channels = 8, kernel = 3, stride = 2}
first_pointwise = {channels = 8, groups = 2, shuffle = true}
first_depthwise = {kernel = 3}
last_pointwise = {channels = 16, groups = 2}
sparsity = {pointwise = 0.5, depthwise = 0.5}
[[blocks]]
in_channels = 8
expanded_channels = 36
out_channels = 12
kernel = 3
stride = 2
groups = 2
residual = false
shuffle = true
[[blocks]]
in_channels = 12
expanded_channels = 30
out_channels = 12
kernel = 5
stride = 1
groups = 2
residual = true
shuffle = true
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture
def training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The excerpt in place of the training set, which is not there everywhere."""
    excerpt = load_excerpt()
    monkeypatch.setattr(exporter, "images_for", lambda *_: ImageSet(excerpt.images, excerpt.labels))


def put_trained_weights(folder: Path, spec: NetworkSpec, stage: str = "pred", **facts: object) -> None:
    run = folder / spec.name / "train" / stage
    run.mkdir(parents=True)
    np.savez(run / WEIGHTS, allow_pickle=False, **trained_arrays(spec))
    settings = {"stage": stage, "seed": 7, "recipe": {"epochs": 3}, "test_images": [500, 32, 32, 3], "test_accuracy": 0.628}
    settings |= {"network": spec.model_dump(mode="json")}
    (run / CONFIG).write_text(json.dumps(settings | facts), encoding="utf-8")


def test_random_bundle_of_ones_own_specification(spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.main(str(spec_file), seed=3, survivors_first=0.5, survivors_second=0.25, build=tmp_path) == 0
    printed = capsys.readouterr().out
    assert "block 2" in printed
    assert "12>30>12 2 r" in printed
    network = load_bundle(tmp_path / "small" / "small.archon")
    assert network.spec == small_spec()
    assert network.provenance["weights"] == "random"
    assert network.provenance["seed"] == "3"
    for statistics in run(network, load_excerpt().images[:2]).statistics.values():
        assert statistics.first.survivor_share == pytest.approx(0.5, abs=0.05)
        assert statistics.second.survivor_share == pytest.approx(0.25, abs=0.05)


def test_equal_seeds_give_equal_files(spec_file: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.archon", "b.archon", "c.archon")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert exporter.main(str(spec_file), seed=seed, out=path) == 0
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other


@pytest.mark.usefixtures("training_images")
def test_trained_bundle_takes_the_last_stage(spec_file: Path, tmp_path: Path) -> None:
    put_trained_weights(tmp_path, small_spec(), "pred")
    assert exporter.main(str(spec_file), weights="trained", build=tmp_path) == 0
    assert load_bundle(tmp_path / "small" / "small.archon").provenance["stage"] == "pred"
    put_trained_weights(tmp_path, small_spec(), "quantized", widened_from="narrow/train/quantized")
    assert exporter.main(str(spec_file), weights="trained", build=tmp_path) == 0
    assert load_bundle(tmp_path / "small" / "small.archon").provenance == {
        "weights": "trained",
        "dataset": "cifar10",
        "stage": "quantized",
        "epochs": "3",
        "seed": "7",
        "accuracy": "62.80 % of 500 test images",
        "grown_from": "narrow/train/quantized",
    }


@pytest.mark.usefixtures("training_images")
@pytest.mark.parametrize(
    ("text", "message"), [(None, "is missing"), ("{}", "expected the settings of a finished training run")]
)
def test_weights_of_no_finished_run_are_refused(
    text: str | None, message: str, spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_trained_weights(tmp_path, small_spec())
    config = tmp_path / "small" / "train" / "pred" / CONFIG
    if text is None:
        config.unlink()
    else:
        config.write_text(text, encoding="utf-8")
    assert exporter.main(str(spec_file), weights="trained", build=tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.archon*"))


@pytest.mark.usefixtures("training_images")
def test_weights_of_another_network_are_refused(spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every shape fits, but a shuffle is there that the weights were not trained with."""
    values = small_spec().model_dump(mode="json")
    values["blocks"][0]["shuffle"] = not values["blocks"][0]["shuffle"]
    put_trained_weights(tmp_path, small_spec(), network=values)
    assert exporter.main(str(spec_file), weights="trained", build=tmp_path) == 2
    said = "expected a run of small, got one of another small: they differ in blocks"
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.archon*"))


@pytest.mark.usefixtures("training_images")
def test_damaged_weights_leave_nothing_behind(spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_trained_weights(tmp_path, small_spec())
    weights = tmp_path / "small" / "train" / "pred" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert exporter.main(str(spec_file), weights="trained", build=tmp_path) == 2
    assert "weights.npz is damaged" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.archon*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "unknown"}, "unknown network 'unknown': expected one of"),
        ({"survivors_first": 1.5}, "survivors-first must be a share from 0 to 1, got 1.5"),
        ({"weights": "trained"}, "small: expected weights of stage quantized or pred under"),
        ({"spec": "fusionet-nano", "weights": "trained", "seed": 3}, "train-seed-3, got none"),
        ({"weights": "trained", "balanced": True}, "--balanced: expected --weights random with it, got True without"),
        ({"weights": "trained", "survivors_second": 0.3}, "--survivors-second: expected --weights random with it, got 0.3"),
        ({"classes": 100, "dataset": "cifar10"}, "--classes: expected no --dataset, which says how many, with it, got 100"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: dict[str, object], message: str, spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {"spec": str(spec_file), "build": tmp_path} | arguments
    assert exporter.main(**command) == 2  # type: ignore[arg-type]
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.archon*"))


def test_another_number_of_classes(spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.main(str(spec_file), classes=100, build=tmp_path) == 0
    network = load_bundle(tmp_path / "small-100" / "small-100.archon")
    assert (network.spec.name, network.dense_weight.shape) == ("small-100", (100, 16))
    assert "small-100, random weights" in capsys.readouterr().out
    assert exporter.main(str(spec_file), classes=0, build=tmp_path) == 2
    assert "classes: input should be greater than 0, got 0" in capsys.readouterr().err
