"""Accuracy by stage and training curves: from run folders, of the project or one's own."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hw.contract.errors import ArchonError
from sw.arrays import file_digest
from sw.bundle import find_bundle
from sw.curves import CURVES
from sw.golden.network import Mode
from sw.golden.record import RECORD, IntegerRecord, ModeRecord
from sw.page.figures import Measured, accuracy_figure, curve_figures, missing_curves
from sw.page.stages import read_integers, read_stages
from sw.run_folder import CONFIG, KEPT_RUNS, LOG


def put_run(build: Path, stage: str, log: str = "", **facts: Any) -> Path:
    folder = build / "net" / "train" / stage
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"stage": stage, "seed": 1, "recipe": {"epochs": 3}, "test_images": [50, 32, 32, 3], "test_accuracy": 0.75}
    (folder / CONFIG).write_text(json.dumps(settings | facts), encoding="utf-8")
    if log:
        (folder / LOG).write_text(log, encoding="utf-8")
    return folder


def test_runs_that_come_with_the_project(tmp_path: Path) -> None:
    stages = read_stages("fusionet-nano", tmp_path)
    assert [stage.name for stage in stages] == ["vanilla", "pruned", "pred", "quantized"]
    for stage in stages:
        config = json.loads((KEPT_RUNS / "fusionet-nano" / stage.name / CONFIG).read_text(encoding="utf-8"))
        assert (stage.accuracy, stage.settings.recipe.epochs) == (config["test_accuracy"], config["recipe"]["epochs"])
        assert stage.kept
        assert stage.finished
    assert [stage.epochs for stage in stages] == [14, 18, 0, 12]
    assert stages[0].curves["test_accuracy"][-1] == stages[0].accuracy
    assert list(curve_figures(stages)) == list(CURVES)
    assert missing_curves(stages) == []


def test_logs_of_earlier_versions_lack_curves(tmp_path: Path) -> None:
    put_run(tmp_path, "vanilla", "epoch,rate,loss,test_accuracy,seconds\n1,0.1,2.5,0.25,9\n")
    stages = read_stages("net", tmp_path)
    assert list(curve_figures(stages)) == ["loss", "accuracy"]
    assert missing_curves(stages) == ["survivors", "sparsity"]


def test_ones_own_runs_come_first(tmp_path: Path) -> None:
    folder = put_run(tmp_path, "pruned", test_accuracy=0.5)
    folder.parent.parent.rename(tmp_path / "fusionet-nano")
    stages = {stage.name: stage for stage in read_stages("fusionet-nano", tmp_path)}
    assert (stages["pruned"].accuracy, stages["pruned"].kept) == (0.5, False)
    assert stages["vanilla"].kept
    assert read_stages("net", tmp_path) == ()


def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    put_run(tmp_path, "vanilla", "epoch,loss,test_accuracy\n1,2.5,0.25\n2,2.0,\n", test_accuracy=None, test_images=None)
    (stage,) = read_stages("net", tmp_path)
    assert not stage.finished
    assert (stage.accuracy, stage.epochs) == (0.25, 2)
    assert math.isnan(stage.curves["test_accuracy"][1])


def test_a_stage_without_epochs_has_a_point_between_the_others(tmp_path: Path) -> None:
    put_run(tmp_path, "pruned", "epoch,loss,test_accuracy\n1,2.5,0.25\n2,2.0,0.5\n")
    put_run(tmp_path, "pred", "epoch,test_accuracy,seconds\n0,0.375,9\n")
    pruned, pred = read_stages("net", tmp_path)
    assert (pruned.epochs, pred.epochs, pred.curves["test_accuracy"]) == (2, 0, [0.375])
    assert list(curve_figures([pruned, pred])) == ["loss", "accuracy"]


def test_all_curves_that_a_log_may_hold(tmp_path: Path) -> None:
    header = "epoch,loss,test_accuracy,survivors_first,survivors_second,sparsity\n"
    put_run(tmp_path, "vanilla", "epoch,loss,test_accuracy\n1,2.5,0.25\n")
    put_run(tmp_path, "pred", header + "1,2.5,0.25,0.5,0.4,0.8\n2,2.4,0.35,0.4,0.3,0.8\n")
    stages = read_stages("net", tmp_path)
    figures = curve_figures(stages)
    assert list(figures) == list(CURVES)
    assert missing_curves(stages) == []
    assert ">survivors second</text>" in figures["survivors"]
    assert ">survivors, %</text>" in figures["survivors"]


def test_a_line_joins_accuracies_that_were_found_every_few_epochs(tmp_path: Path) -> None:
    put_run(tmp_path, "vanilla", "epoch,loss,test_accuracy\n1,2.5,\n2,2.0,0.25\n3,1.5,\n4,1.0,0.5\n")
    (stage,) = read_stages("net", tmp_path)
    assert CURVES["accuracy"].points(stage.curves, "test_accuracy") == ([2, 4], [25, 50])
    assert CURVES["loss"].points(stage.curves, "loss") == ([1, 2, 3, 4], [2.5, 2, 1.5, 1])


def test_accuracies_stand_in_the_figure() -> None:
    figure = accuracy_figure([Measured("vanilla", 0.8329, None), Measured("integers", 0.79421, 10000)])
    for text in ("83.29", "79.42", "of 10,000", "vanilla", "integers"):
        assert f">{text}</text>" in figure or f">{text}</tspan>" in figure


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("epoch,loss\n1,much\n", "expected a table of numbers, got something else"),
        ("epoch,loss\n1\n", "expected a table of numbers, got something else"),
        ("epoch,loss\n1,2,3\n", "expected a table of numbers, got something else"),
        ("time,loss\n1,2\n", "expected a column epoch, got time, loss"),
    ],
)
def test_damaged_logs_are_refused(log: str, message: str, tmp_path: Path) -> None:
    put_run(tmp_path, "vanilla", log)
    with pytest.raises(ArchonError, match=f"vanilla/log.csv: {message}"):
        read_stages("net", tmp_path)


def test_damaged_settings_are_refused(tmp_path: Path) -> None:
    (put_run(tmp_path, "vanilla") / CONFIG).write_text("{}", encoding="utf-8")
    with pytest.raises(ArchonError, match="expected the settings of a training run, got something else"):
        read_stages("net", tmp_path)


def test_integers_are_those_of_this_bundle(tmp_path: Path) -> None:
    path, bundle = tmp_path / "net" / RECORD, tmp_path / "net.archon"
    bundle.write_bytes(b"bundle")
    assert read_integers("net", bundle, tmp_path) is None
    few, many = (ModeRecord(images=images, correct=correct, blocks=()) for images, correct in ((4, 4), (96, 60)))
    evaluations: dict[Mode, ModeRecord] = {"fused": few, "layerwise": many}
    record = IntegerRecord(network="net", dataset="cifar10", bundle_sha256=file_digest(bundle), evaluations=evaluations)
    record.write(path)
    assert read_integers("net", bundle, tmp_path) == (0.625, 96, "cifar10", False)
    renamed = bundle.with_name("net-raised.archon")
    renamed.write_bytes(bundle.read_bytes())
    assert read_integers("net", renamed, tmp_path) is None
    record.write(tmp_path / "net" / "integers-net-raised.json")
    assert read_integers("net", renamed, tmp_path) == (0.625, 96, "cifar10", False)
    bundle.write_bytes(b"another")
    assert read_integers("net", bundle, tmp_path) is None
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ArchonError, match="expected a record of evaluations in integers, as archon evaluate leaves it"):
        read_integers("net", bundle, tmp_path)


def test_integers_of_a_bundle_that_comes_with_the_project(tmp_path: Path) -> None:
    found = read_integers("fusionet-nano", find_bundle("fusionet-nano"), tmp_path)
    assert found is not None
    assert (found.images, found.dataset, found.kept) == (10000, "cifar10", True)
    assert found.accuracy > 0.5
