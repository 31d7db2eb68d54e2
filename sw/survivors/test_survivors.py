"""The curve of accuracy, survivors and cycles: its runs, its table, and what is not done twice."""

import csv
import shutil
from pathlib import Path

import pytest

from sw.__main__ import app
from sw.arrays import file_digest
from sw.datasets import DATASETS
from sw.run_folder import WEIGHTS, read_config, read_log, read_settings
from sw.spec import load_spec
from sw.survivors.measure import Ruler
from sw.survivors.points import POINTS, TABLE, Point, key_of, read_points
from sw.survivors.settings import options_of, parse_setting
from sw.test_task import excerpt_datasets
from sw.train import run as training
from sw.train.options import Options
from sw.train.recipe import STAGES

SPEC = """
name = "small-nano"
height = 8
width = 8
channels = 3
classes = 10
stem = {channels = 8, kernel = 3, stride = 1}
sparsity = {pointwise = 0.5, depthwise = 0.5}
[[blocks]]
in_channels = 8
expanded_channels = 32
out_channels = 8
kernel = 3
stride = 2
groups = 1
residual = false
shuffle = false
"""
SETTINGS = ("0.5/0.4", "0.2/0.1")


def archon(folder: Path, command: str, *words: str) -> int:
    return int(app([command, str(folder / "small.toml"), *words, "--build", str(folder)], result_action="return_value"))


def survivors(folder: Path, *words: str) -> int:
    """Exit status of archon survivors, quick."""
    few = ["--epochs", "12", "--images", "128", "--test-images", "40"]
    usual = {"--preset": "tiny", "--cycles-images": "1", "--ramp": "0.25", "--workers": "1"}
    return archon(folder, "survivors", *few, *words, *(w for pair in usual.items() if pair[0] not in words for w in pair))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network in all stages and its curve."""
    folder = tmp_path_factory.mktemp("survivors")
    (folder / "small.toml").write_text(SPEC, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, dataset in excerpt_datasets().items():
            patch.setitem(DATASETS, name, dataset)
        for stage in STAGES:
            assert archon(folder, "train", "--stage", stage, "--epochs", "1", "--images", "128", "--test-images", "10") == 0
        assert survivors(folder, "--limits", *SETTINGS, "--raises", "0/3") == 0
    return folder


@pytest.fixture(autouse=True)
def excerpt_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)


def points(folder: Path) -> dict[tuple[str, bool], Point]:
    return {(point.setting, point.is_raised): point for point in read_points(folder / "small-nano" / "survivors")}


def test_lower_limits_leave_fewer_survivors_and_cycles(finished: Path) -> None:
    found = points(finished)
    assert set(found) == {(setting, raised) for setting in SETTINGS for raised in (False, True)}
    many, few = (found[setting, False] for setting in SETTINGS)
    assert few.survivors_first < many.survivors_first
    assert few.survivors_second < many.survivors_second
    assert few.block_cycles < many.block_cycles < many.cycles
    for setting in SETTINGS:
        turned, base = found[setting, True], found[setting, False]
        assert (turned.raised_first, turned.raised_second) == (0, 3)
        assert turned.weights == base.weights
        assert turned.survivors_first == base.survivors_first
        assert turned.survivors_second < base.survivors_second


def test_runs_start_from_the_same_network_and_keep_their_logs(finished: Path) -> None:
    for setting in SETTINGS:
        folder = finished / "small-nano" / "survivors" / setting.replace("/", "-") / "small-nano" / "train" / "quantized"
        settings = read_settings(folder)
        assert settings.started_from == "small-nano/train/quantized"
        first, second = (float(share) for share in setting.split("/"))
        assert (settings.recipe.survivors_first, settings.recipe.survivors_second) == (first, second)
        log = read_log(folder)
        assert len(log) == 12
        assert float(log[-1]["survivors_first"]) < float(log[0]["survivors_first"]) or setting == SETTINGS[0]


def test_settings_may_change_more_than_limits(tmp_path: Path) -> None:
    spec, setting = load_spec("fusionet-nano"), parse_setting("0.4,0.3,0.3,0.3,0.4/0.2+costs+dense+unbiased")
    assert setting.folder == "0.4,0.3,0.3,0.3,0.4-0.2-costs-dense-unbiased"
    options = options_of(setting, Options(start=tmp_path), tmp_path, spec)
    assert options.build == tmp_path / "fusionet-nano" / "survivors" / setting.folder
    recipe = options.run("fusionet-nano").recipe
    assert (recipe.survivors_first, recipe.survivors_second) == ((0.4, 0.3, 0.3, 0.3, 0.4), 0.2)
    assert (recipe.survivor_costs, recipe.dense_predictors, recipe.value_biases) == (True, True, False)
    plain = options_of(parse_setting("0.4/0.3"), Options(start=tmp_path), tmp_path, spec).run("fusionet-nano").recipe
    assert (plain.survivor_costs, plain.dense_predictors, plain.value_biases) == (False, False, True)
    pairs = options_of(setting, Options(start=tmp_path), tmp_path, load_spec("shufflenet-modified-nano"))
    assert (pairs.survivors_first, pairs.survivors_second) == ("0.4,0.3,0.3,0.3,0.4", None)


def test_table_and_picture(finished: Path) -> None:
    folder = finished / "small-nano" / "survivors"
    with (folder / TABLE).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["setting"] for row in rows] == ["0.5/0.4", "0.5/0.4", "0.2/0.1", "0.2/0.1"]
    assert rows[0]["images"] == "40"
    picture = (folder / "survivors.svg").read_text(encoding="utf-8")
    assert picture.startswith("<?xml")


def test_nothing_is_done_twice(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("measured or trained again")

    monkeypatch.setattr(Ruler, "measured", fail)
    monkeypatch.setattr(training, "train", fail)
    assert survivors(finished, "--limits", *SETTINGS, "--raises", "0/3") == 0
    assert "accuracy, survivors, cycles" in capsys.readouterr().out
    assert len(points(finished)) == 4


def test_a_run_that_was_trained_otherwise(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = finished / "small-nano" / "train"
    shutil.copytree(finished / "small-nano" / "survivors", tmp_path / "small-nano" / "survivors")
    (tmp_path / "small.toml").write_text(SPEC, encoding="utf-8")
    words = ["--start", str(trained / "quantized"), "--limits", SETTINGS[0], "--also"]
    assert survivors(tmp_path, *words, str(trained / "quantized")) == 0
    found = points(tmp_path)[f"0.5/0.4 ({finished.name})", False]
    assert found.epochs == 1
    assert found.weights == file_digest(trained / "quantized" / WEIGHTS)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tmp_path / "small.toml", alone)
    assert survivors(alone, "--also", str(trained / "quantized")) == 0
    assert list(points(alone)) == [(f"0.5/0.4 ({finished.name})", False)]  # nothing was trained
    assert survivors(tmp_path, *words, str(trained / "pred")) == 2
    assert "expected a run of stage quantized of small-nano" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limits", "0.5"], "setting: expected shares of survivors FIRST/SECOND, as 0.4/0.3, got '0.5'"),
        (["--limits", "0.5/0.4+thick"], "setting 0.5/0.4+thick: expected costs or dense or unbiased behind +, got 'thick'"),
        (["--limits", "0.5/2"], "share of survivors: expected more than 0 and at most 1, got 2.0"),
        (["--limits", "0.5,0.4/0.3"], "shares of survivors: expected one, or one for each of 1 blocks, got 0.5,0.4"),
        (["--raises", "1"], "raise: expected levels FIRST/SECOND, as 0.5/1, got '1'"),
        (["--preset", "huge"], "huge"),
        (["--cycles-images", "0"], "cycles-images: expected 1 to 40, got 0"),
        (["--raises", "0/nan"], "thresholds: expected finite numbers to raise them by, got 0.0 and nan"),
        (["--workers", "0"], "workers: expected at least 1, got 0"),
        (["--latency", "-1"], "latency: expected 0 or more, got -1"),
        (["--limits", "0.9/0.8", SETTINGS[0], "--ramp", "0.5"], "was begun with survivor_ramp 0.25; got survivor_ramp 0.5"),
    ],
)
def test_faults(finished: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((finished / "small-nano" / "survivors").iterdir())
    assert survivors(finished, *words) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert sorted((finished / "small-nano" / "survivors").iterdir()) == before  # nothing was trained before


def test_runs_with_other_settings_are_deleted_when_that_is_said(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    words = ["--start", str(finished / "small-nano" / "train" / "quantized"), "--limits", SETTINGS[0], "--ramp", "0.5"]
    assert survivors(tmp_path, *words) == 2
    assert survivors(tmp_path, *words, "--anew") == 0
    folder = tmp_path / "small-nano" / "survivors" / "0.5-0.4" / "small-nano" / "train" / "quantized"
    assert (read_config(folder) or {})["recipe"]["survivor_ramp"] == 0.5


def test_a_run_that_has_not_ended_is_refused_before_training(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("sw.survivors.command.train_setting")
    other = tmp_path / "quantized"
    shutil.copytree(finished / "small-nano" / "train" / "quantized", other)
    (other / WEIGHTS).unlink()
    assert survivors(finished, "--limits", "0.7/0.6", "--also", str(other)) == 2
    assert f"{other / WEIGHTS} is missing: expected what a run that has ended leaves" in capsys.readouterr().err


def test_a_damaged_table_is_refused_before_training(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("sw.survivors.command.train_setting")
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "small-nano" / "survivors" / POINTS).write_text("{", encoding="utf-8")
    assert survivors(tmp_path, "--limits", "0.7/0.6") == 2
    assert "expected what archon survivors writes" in capsys.readouterr().err


def test_a_network_to_start_from_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.toml").write_text(SPEC, encoding="utf-8")
    assert survivors(tmp_path) == 2
    assert "expected what stage quantized of small-nano leaves" in capsys.readouterr().err.replace("\n", " ")


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / POINTS).write_text("[{}]", encoding="utf-8")
    with pytest.raises(Exception, match="expected what archon survivors writes, got something else; delete it"):
        read_points(tmp_path)


def test_what_decides_on_a_point(finished: Path) -> None:
    point = points(finished)[SETTINGS[0], False]
    assert key_of(point.model_dump()) == key_of(point.model_copy(update={"accuracy": 0.0, "epochs": 7}).model_dump())
    assert key_of(point.model_dump()) != key_of(point.model_copy(update={"weights": "0"}).model_dump())
