"""The table of results, from made-up run folders and from those that come with the project."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hw.contract.errors import ArchonError
from sw.results.__main__ import PAGE, main
from sw.results.published import load_published
from sw.results.render import cells, page
from sw.results.subjects import FULL_SIZE, Sources
from sw.results.table import Row, make_rows
from sw.run_folder import CONFIG, KEPT_RUNS, LOG, WEIGHTS
from sw.task import network_for

NANO = "fusionet-nano"
FIGURES = {
    "accuracy", "images", "nonzero_weights", "nonzero_multiply_accumulates", "fused_executed", "counted_images",
    "survivors_first", "survivors_second", "survivors_images", "log",
}  # fmt: skip

FREE = "--survivors-first 1.0 --survivors-second 1.0"
"""Options of a run without limits, where the recipe has some."""


def sources(folder: Path) -> Sources:
    return Sources(runs=folder / "runs", bundles=folder / "bundles", build=folder / "build")


def settings(of_stage: str, of_network: str = NANO, on: str = "cifar10", /, **changes: Any) -> dict[str, Any]:
    """What a finished run of two epochs leaves as its settings; None leaves a key out."""
    config = {
        "network": network_for(of_network, on).model_dump(mode="json"), "stage": of_stage, "seed": 0, "dataset": on,
        "recipe": {"epochs": 2}, "test_accuracy": 0.75, "predictor": "forward", "widened_from": None,
        "training_images": [50000, 32, 32, 3], "test_images": [10000, 32, 32, 3],
    }  # fmt: skip
    return {key: value for key, value in (config | changes).items() if key not in changes or value is not None}


def put_run(folder: Path, config: dict[str, Any], log: list[float | str] | None = None) -> Path:
    """A run folder with a log of these accuracies, by default of two epochs that end with the settings'."""
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    accuracies = [0.5, config.get("test_accuracy", 0.6)] if log is None else log
    lines = ["epoch,rate,loss,test_accuracy,seconds", *(f"{i},0.1,1.0,{value},9" for i, value in enumerate(accuracies, 1))]
    (folder / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def row_of(folder: Path, stage: str, network: str = NANO, dataset: str = "cifar10") -> Row:
    rows = make_rows(sources(folder), load_published())
    [row] = [row for row in rows if (row.network, row.dataset, row.stage) == (network, dataset, stage)]
    return row


def test_the_page_is_what_the_program_makes_of_what_comes_with_the_project() -> None:
    published = load_published()
    assert PAGE.read_text(encoding="utf-8") == page(make_rows(Sources(), published), published)


def test_figures_of_the_kept_runs_are_those_of_their_logs() -> None:
    rows = {(row.network, row.stage): row for row in make_rows(Sources(), load_published()) if row.dataset == "cifar10"}
    measured = [row for row in rows.values() if row.measured]
    assert measured
    for row in measured:
        assert row.log is not None
        log = PAGE.parents[1] / row.log
        assert log.is_relative_to(KEPT_RUNS)
        if log.name == LOG:
            *_, last = csv.DictReader(log.read_text(encoding="utf-8").splitlines())
            assert float(last["test_accuracy"]) == row.accuracy
    pruned, integers = rows[NANO, "pruned"], rows[NANO, "integers"]
    assert (pruned.nonzero_weights, pruned.nonzero_multiply_accumulates) == (17_843, 1_527_296)
    assert integers.images == integers.test_set == 10_000
    assert integers.counted_images is not None
    assert 0 < (integers.fused_executed or 0) < (integers.nonzero_multiply_accumulates or 0) < integers.multiply_accumulates


def test_without_logs_there_are_no_figures_but_commands(tmp_path: Path) -> None:
    rows = make_rows(sources(tmp_path), load_published())
    assert not [row for row in rows if row.measured or any(getattr(row, name) is not None for name in FIGURES)]
    assert {row.dataset for row in rows} == {"cifar10", "cifar100"}
    for row in rows:
        assert row.status == ("needs a GPU" if row.multiply_accumulates > FULL_SIZE else "not trained yet")
        assert (row.status == "not trained yet") == ("nano" in row.network or "slim" in row.network)
        command = f"archon train {row.network} --dataset {row.dataset} --stage {row.stage}"
        if row.stage == "integers":
            command = f"archon export {row.network} --dataset {row.dataset} --weights trained"
        assert row.commands[0] == command
    by_stage = {(row.network, row.dataset, row.stage): row for row in rows}
    assert ("mobilenetv2", "cifar10", "pred") not in by_stage
    assert by_stage["fusionet", "cifar10", "pred"].published_accuracy == pytest.approx(0.9416)
    assert cells(by_stage["fusionet", "cifar100", "pred"])[3] == "no log"
    assert by_stage["fusionet", "cifar100", "vanilla"].parameters == network_for("fusionet", "cifar100").parameters()


def test_a_run_is_shown_with_what_must_be_known_of_it(tmp_path: Path) -> None:
    whole = put_run(tmp_path / "runs" / NANO / "vanilla", settings("vanilla"))
    changes: dict[str, Any] = {
        "test_images": [500, 16, 16, 3], "training_images": [9600, 16, 16, 3], "widened_from": "narrow/train/pruned", "seed": 3,
        "recipe": {"epochs": 1, "survivors_first": 0.5, "survivors_second": 0.3, "survivor_weight": 5.0},
    }  # fmt: skip
    put_run(tmp_path / "build" / NANO / "train" / "quantized", settings("quantized", **changes), [0.75])
    row = row_of(tmp_path, "vanilla")
    assert (row.status, row.accuracy, row.notes) == ("measured", 0.75, ("2 epochs",))
    assert (cells(row)[2], row.log) == ("75.00", str(whole / LOG))
    assert row.commands == (f"archon train {NANO} --dataset cifar10 --stage vanilla --epochs 2 {FREE}",)
    row = row_of(tmp_path, "quantized")
    assert cells(row)[2] == "75.00 (500 images)"
    assert row.notes == (
        "1 epoch", "grown from narrow/train/pruned", "trained on 9,600 of 50,000 images", "images of 16x16 pixels",
        "survivors limited to 0.5 / 0.3",
    )  # fmt: skip
    [command] = row.commands
    assert command == (
        f"archon train {NANO} --dataset cifar10 --stage quantized --epochs 1 --seed 3 --survivors-first 0.5 "
        "--survivors-second 0.3 --images 9600 --test-images 500 --resolution 16 --widen build/narrow/train/pruned"
    )
    assert row_of(tmp_path, "pred").status == "not trained yet"
    assert row_of(tmp_path, "integers").status == "not exported yet"


def test_commands_have_limits_where_they_change_something(tmp_path: Path) -> None:
    recipe = {"epochs": 2, "survivors_first": 0.25, "survivors_second": 0.15, "survivor_weight": 5.0, "survivor_ramp": 0.75}
    for network in (NANO, "mobilenetv2-nano"):
        put_run(tmp_path / "runs" / network / "vanilla", settings("vanilla", network, recipe=recipe))
    [baseline] = row_of(tmp_path, "vanilla", "mobilenetv2-nano").commands
    assert baseline == "archon train mobilenetv2-nano --dataset cifar10 --stage vanilla --epochs 2"
    [fused] = row_of(tmp_path, "vanilla").commands
    assert fused.endswith("--epochs 2 --survivors-first 0.25 --survivors-second 0.15 --survivor-ramp 0.75")


@pytest.mark.parametrize(
    ("network", "limits"),
    [(NANO, "0.5 / 0.4"), ("shufflenet-modified-nano", "0.5 / -"), ("mobilenetv2-nano", None)],
)
def test_limits_are_those_of_relus_that_are_predicted(network: str, limits: str | None, tmp_path: Path) -> None:
    recipe = {"epochs": 2, "survivors_first": 0.5, "survivors_second": 0.4, "survivor_weight": 5.0}
    put_run(tmp_path / "runs" / network / "quantized", settings("quantized", network, recipe=recipe))
    row = row_of(tmp_path, "quantized", network)
    assert [note for note in row.notes if "limited" in note] == ([f"survivors limited to {limits}"] if limits else [])
    put_run(tmp_path / "runs" / network / "pruned", settings("pruned", network, recipe=recipe | {"survivor_costs": True}))
    counted = [f"survivors limited to {limits}, by what they add up"] if limits else []
    assert [note for note in row_of(tmp_path, "pruned", network).notes if "limited" in note] == counted


@pytest.mark.parametrize(
    ("network", "stage", "grown"), [("fusionet", "quantized", True), (NANO, "quantized", True), ("fusionet", "pruned", False)]
)
def test_what_a_grown_network_stands_in_for_needs_a_gpu(network: str, stage: str, grown: bool, tmp_path: Path) -> None:
    changes = {"widened_from": "narrow/train/quantized"} if grown else {}
    put_run(tmp_path / "runs" / network / stage, settings(stage, network, **changes))
    row = row_of(tmp_path, stage, network)
    command = f"archon train {network} --dataset cifar10 --stage {stage}"
    stands_in = grown and network == "fusionet"
    assert row.measured
    assert row.wanting == ((command,) if stands_in else ())
    assert (f"trained at full width needs a GPU: `{command}` |" in page([row], load_published())) == stands_in


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"epoch,test_accuracy\n1,0.5\n2,0.75\n\xe9"])
def test_a_damaged_log_is_named(content: bytes, tmp_path: Path) -> None:
    log = put_run(tmp_path / "runs" / NANO / "vanilla", settings("vanilla")) / LOG
    log.write_bytes(content)
    row = row_of(tmp_path, "vanilla")
    assert (row.status, row.accuracy) == ("refused", None)
    assert f"{log}: expected a table of epochs" in row.notes[0]


@pytest.mark.parametrize(("accuracy", "shown"), [(0.8329, "83.29"), (0.75, "75.00 (? images)")])
def test_old_settings_say_no_number_of_images(accuracy: float, shown: str, tmp_path: Path) -> None:
    old = settings("vanilla", test_accuracy=accuracy, test_images=None, training_images=None, dataset=None, widened_from=None)
    put_run(tmp_path / "runs" / NANO / "vanilla", old)
    row = row_of(tmp_path, "vanilla")
    assert row.measured
    assert cells(row)[2] == shown
    assert "does not say of how many" in row.notes[1]


@pytest.mark.parametrize(
    ("changes", "log", "message"),
    [
        ({"stage": "pruned"}, None, "expected the stage vanilla, got pruned"),
        ({"dataset": "svhn"}, None, "expected the data set cifar10, got svhn"),
        ({"network": network_for("fusionet-slim", "cifar10").model_dump(mode="json")}, None, "got another one"),
        ({"network": {"name": NANO}}, None, "got another one"),
        ({"test_images": [10001, 32, 32, 3]}, None, "expected at most 10000 test images, got 10001"),
        ({}, [0.75], "log.csv: expected 2 epochs, got 1"),
        ({}, [0.75, 0.7499], "expected the accuracy 0.75 after the last epoch, as in config.json, got 0.7499"),
        ({}, [0.75, "?"], "log.csv: expected a test_accuracy"),
    ],
)
def test_a_figure_without_a_log_that_shows_it_is_refused(
    changes: dict[str, Any], log: list[float | str] | None, message: str, tmp_path: Path
) -> None:
    put_run(tmp_path / "runs" / NANO / "vanilla", settings("vanilla", **changes), log)
    row = row_of(tmp_path, "vanilla")
    assert (row.status, row.accuracy, row.nonzero_weights) == ("refused", None, None)
    assert message in row.notes[0]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["0,0.75,3"], None),
        (["0,0.5,3"], "log.csv: expected the accuracy 0.75 after the last epoch, as in config.json, got 0.5"),
        (["1,0.75,3"], "log.csv: expected 0 epochs, got 1"),
        (None, None),
    ],
)
def test_a_run_without_epochs_has_a_row_of_epoch_0(rows: list[str] | None, fault: str | None, tmp_path: Path) -> None:
    folder = put_run(tmp_path / "runs" / NANO / "pred", settings("pred", recipe={"epochs": 0}))
    if rows is None:  # as earlier versions left it
        (folder / LOG).unlink()
    else:
        (folder / LOG).write_text("\n".join(["epoch,test_accuracy,seconds", *rows]) + "\n", encoding="utf-8")
    row = row_of(tmp_path, "pred")
    assert (row.measured, row.accuracy) == (fault is None, None if fault else 0.75)
    assert row.notes[0] == (fault or "calibrated, not trained")
    assert str(row.log).endswith(CONFIG if rows is None else LOG)


def test_what_was_trained_here_goes_first_once_it_has_ended(tmp_path: Path) -> None:
    here = tmp_path / "build" / NANO / "train" / "vanilla"
    put_run(here, settings("vanilla", test_accuracy=None), [0.5])
    row = row_of(tmp_path, "vanilla")
    assert (row.status, row.accuracy, row.notes) == ("not finished", None, ("1 epochs so far",))
    assert row.commands == (f"archon train {NANO} --dataset cifar10 --stage vanilla --epochs 2 {FREE} --resume",)
    put_run(tmp_path / "runs" / NANO / "vanilla", settings("vanilla", test_accuracy=0.7))
    assert row_of(tmp_path, "vanilla").accuracy == 0.7
    shutil.rmtree(here)
    put_run(here, settings("vanilla", test_accuracy=0.8))
    assert row_of(tmp_path, "vanilla").accuracy == 0.8


def test_other_data_sets_and_networks_show_once_they_were_trained(tmp_path: Path) -> None:
    build, own = tmp_path / "build", network_for(NANO, "cifar100").model_dump(mode="json") | {"name": "mine-100"}
    put_run(build / f"{NANO}-svhn" / "train" / "vanilla", settings("vanilla", NANO, "svhn", test_images=[26032, 32, 32, 3]))
    put_run(build / "mine-100" / "train" / "vanilla", settings("vanilla", NANO, "cifar100", network=own))
    assert row_of(tmp_path, "vanilla", dataset="svhn").accuracy == 0.75
    assert row_of(tmp_path, "vanilla", "mine", "cifar100").images == 10_000
    row = row_of(tmp_path, "pruned", "mine", "cifar100")
    assert row.commands == ("archon train mine.toml --dataset cifar100 --stage pruned",)
    rows = make_rows(sources(tmp_path), load_published())
    assert {row.network for row in rows if row.dataset == "svhn"} == {NANO}


def test_the_command_writes_page_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, docs = tmp_path / "build", tmp_path / "page.md"
    put_run(build / "fusionet" / "train" / "vanilla", settings("vanilla", "fusionet"))
    assert main(docs=docs, build=build) == 0
    assert "fusionet" in capsys.readouterr().out
    assert docs.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    whole = json.loads((build / "results" / "results.json").read_text(encoding="utf-8"))
    rows = [Row.model_validate(row) for row in whole["rows"]]
    assert rows == make_rows(Sources(build=build), load_published())
    assert next(row for row in rows if row.stage == "vanilla").accuracy == 0.75
    with (build / "results" / "results.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["network"] for line in lines] == [row.network for row in rows]
    assert list(lines[0]) == list(Row.model_fields)
    assert "| fusionet | vanilla | 75.00 | 95.29 |" in (build / "results" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "[]", '{"test_accuracy": 1.5, "stage": "vanilla", "seed": 0, "recipe": {"epochs": 1}}'])
def test_settings_of_no_run_end_in_one_sentence(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_run(tmp_path / NANO / "train" / "vanilla", settings("vanilla"))
    (folder / CONFIG).write_text(text, encoding="utf-8")
    assert main(docs=tmp_path / "page.md", build=tmp_path) == 2
    assert "expected the settings of a training run, got something else" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
    assert not (tmp_path / "results").exists()


def test_folders_and_weights_of_other_networks_are_named(tmp_path: Path) -> None:
    run = put_run(tmp_path / "runs" / "mine" / "vanilla", settings("vanilla"))
    with pytest.raises(ArchonError, match="expected a run of mine, by the folder's name, got one of fusionet-nano"):
        make_rows(sources(tmp_path), load_published())
    run.parent.rename(tmp_path / "runs" / "fusionet-slim")
    slim = tmp_path / "runs" / "fusionet-slim" / "vanilla"
    (slim / CONFIG).write_text(json.dumps(settings("vanilla", "fusionet-slim")), encoding="utf-8")
    shutil.copy(KEPT_RUNS / NANO / "vanilla" / WEIGHTS, slim)
    with pytest.raises(ArchonError, match=r"expected weights of fusionet-slim, got none called 'blocks\.5"):
        make_rows(sources(tmp_path), load_published())


def test_published_figures_are_of_networks_and_stages_that_there_are(tmp_path: Path) -> None:
    published = load_published()
    rows = {(row.network, row.dataset, row.stage): row for row in make_rows(sources(tmp_path), published)}
    for item in published.networks:
        for stage in (*item.accuracy, *item.listed_without_log, *item.multiplications):
            row = rows[item.network, item.dataset, stage]
            assert (row.published_accuracy is None) == (stage not in item.accuracy)
            assert row.published_without_log == (stage in item.listed_without_log)
