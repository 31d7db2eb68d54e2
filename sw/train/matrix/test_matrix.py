"""A matrix of runs: each trained once, resumed where it was cut off, and independent of the others."""

import csv
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import submitit
import tensorflow as tf
from submitit.core.utils import JobPaths, cloudpickle_dump

from hw.contract.errors import ArchonError
from sw.__main__ import app
from sw.arrays import load_arrays, save_arrays
from sw.datasets import DATASETS
from sw.run_folder import CHECKPOINT, WEIGHTS, finished_accuracy
from sw.test_task import SPEC, excerpt_datasets
from sw.train.job import TrainingJob
from sw.train.matrix.plan import plan, progress
from sw.train.options import Common
from sw.train.test_cluster import asked, slurm

__all__ = ["slurm"]

FEW = ["--images", "128", "--test-images", "32", "--epochs", "1", "--kernel", "keras"]


class JobDone:
    """A job that has ended."""

    def __init__(self, folder: Path, number: int, status: int) -> None:
        self.job_id = str(number)
        self.paths = JobPaths(folder, job_id=self.job_id)
        self.status = status
        cloudpickle_dump(("success", status), self.paths.result_pickle)

    def done(self) -> bool:
        return True

    def result(self) -> int:
        return self.status


class ExecutorHere:
    """In place of submitit's: runs a job in this process, when it is submitted."""

    submitted: list[TrainingJob]

    def __init__(self, folder: Path, **_: Any) -> None:
        self.folder = Path(folder)

    def update_parameters(self, **_: Any) -> None:
        pass

    def submit(self, job: TrainingJob) -> JobDone:
        self.submitted.append(job)
        self.folder.mkdir(parents=True, exist_ok=True)
        return JobDone(self.folder, len(self.submitted), job())


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TrainingJob]]:
    """Jobs that were submitted: they run in this process, on the excerpt, step by step."""
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    monkeypatch.setattr(submitit, "AutoExecutor", ExecutorHere)
    monkeypatch.setattr(ExecutorHere, "submitted", [], raising=False)
    monkeypatch.setattr("sw.train.matrix.execution.POLL", 0.0)
    tf.config.run_functions_eagerly(True)
    yield ExecutorHere.submitted
    tf.config.run_functions_eagerly(False)


def network(folder: Path, name: str = "small") -> str:
    path = folder / f"{name}.toml"
    path.write_text(SPEC.replace('"small"', f'"{name}"'), encoding="utf-8")
    return str(path)


def matrix(folder: Path, *words: str) -> int:
    """Exit status of archon matrix."""
    return int(app(["matrix", *words, "--build", str(folder / "build")], result_action="return_value"))


def rows(folder: Path) -> list[dict[str, Any]]:
    """The table's; both files hold the same."""
    table = folder / "build" / "matrix"
    found: list[dict[str, Any]] = json.loads((table / "results.json").read_text())["rows"]
    with (table / "results.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in found]
    return found


def states(folder: Path) -> list[str]:
    return [f"{row['network']} {row['stage']} {row['seed']} {row['state']}" for row in rows(folder)]


def test_every_combination_is_trained_once(
    submitted: list[TrainingJob], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [network(tmp_path), "--seed", "0", "2", "--stage", "pruned", "vanilla", "pred", *FEW]
    assert matrix(tmp_path, *words) == 0
    assert [(job.options.seed, job.options.stage) for job in submitted] == [
        (0, "vanilla"), (0, "pruned"), (2, "vanilla"), (2, "pruned"),
    ]  # fmt: skip
    found = rows(tmp_path)
    assert [row["state"] for row in found] == ["finished"] * 4
    folders = [tmp_path / "build" / "small" / part for part in ("train", "train-seed-2")]
    for row, folder in zip(found, [parent / stage for parent in folders for stage in ("vanilla", "pruned")], strict=True):
        assert row["folder"] == str(folder)
        assert row["accuracy"] == finished_accuracy(folder)
        assert (row["epochs"], row["planned"]) == (1, 1)
        assert row["seconds"] > 0
    first, second = (load_arrays(folder / "vanilla" / WEIGHTS) for folder in folders)
    assert (first["stem.weight"] != second["stem.weight"]).any()
    assert found[3]["command"].split()[:3] == ["archon", "train", words[0]]
    assert found[3]["command"].split()[-4:] == ["--stage", "pruned", "--seed", "2"]
    assert capsys.readouterr().out.count("finished") == 4
    # The same again finds nothing to do, and what an earlier matrix has found is kept.
    assert matrix(tmp_path, *words) == 0
    assert rows(tmp_path) == found
    assert matrix(tmp_path, words[0], "--stage", "vanilla", *FEW, "--status", "--dataset", "svhn") == 0
    assert len(submitted) == 4
    assert states(tmp_path)[4:] == ["small-svhn vanilla 0 waiting"]
    assert rows(tmp_path)[:4] == found


def test_what_differs_is_trained_anew(submitted: list[TrainingJob], tmp_path: Path) -> None:
    path, build = network(tmp_path), tmp_path / "build"
    assert matrix(tmp_path, path, "--stage", "vanilla", "pruned", *FEW) == 0

    def how(**changes: Any) -> list[str]:
        few: dict[str, Any] = {"images": 128, "test_images": 32, "epochs": 1, "kernel": "keras", "build": build}
        return progress(plan([path], ["cifar10"], ["vanilla", "pruned"], [0], Common(**few | changes))[0])

    assert how() == how(kernel="auto") == ["finished", "finished"]
    for changes in ({"epochs": 2}, {"images": 130}, {"test_images": 30}):
        assert how(**changes) == ["waiting", "waiting"], changes
    vanilla = build / "small" / "train" / "vanilla" / CHECKPOINT
    arrays = load_arrays(vanilla)
    save_arrays(vanilla, arrays | {"dense.bias": arrays["dense.bias"] + 1})
    assert how() == ["finished", "waiting"]  # pruned has come from another vanilla
    (vanilla.parent / WEIGHTS).unlink()
    assert how() == ["interrupted", "waiting"]
    assert len(submitted) == 2


def test_an_interrupted_run_resumes(submitted: list[TrainingJob], tmp_path: Path) -> None:
    words = [network(tmp_path), "--stage", "vanilla", "pruned", *FEW]
    assert matrix(tmp_path, *words, "--max-minutes", "0") == 0
    assert states(tmp_path) == ["small vanilla 0 interrupted", "small pruned 0 waiting"]
    assert matrix(tmp_path, *words, "--status") == 0
    assert states(tmp_path) == ["small vanilla 0 interrupted", "small pruned 0 waiting"]
    assert matrix(tmp_path, *words) == 0
    assert states(tmp_path) == ["small vanilla 0 finished", "small pruned 0 finished"]
    assert [(job.options.stage, job.options.resume) for job in submitted] == [
        ("vanilla", False), ("vanilla", True), ("pruned", False),
    ]  # fmt: skip
    # What differs is trained in place of what is there.
    longer = ["2" if before == "--epochs" else word for before, word in pairwise(["", *words])]
    assert matrix(tmp_path, *longer) == 0
    assert [(row["state"], row["planned"]) for row in rows(tmp_path)] == [("finished", 2)] * 2
    assert [job.options.anew for job in submitted[3:]] == [True, True]
    assert not any("--anew" in row["command"] for row in rows(tmp_path))


def test_a_failure_ends_its_own_chain_alone(
    submitted: list[TrainingJob], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [network(tmp_path, "first"), network(tmp_path, "second"), "--stage", "vanilla", "pruned", *FEW]
    assert matrix(tmp_path, *words[:1], *words[2:], "--max-minutes", "0") == 0
    (tmp_path / "build" / "first" / "train" / "vanilla" / CHECKPOINT).write_bytes(b"damaged")
    assert matrix(tmp_path, *words) == 1
    expected = ["first vanilla 0 failed", "first pruned 0 waiting", "second vanilla 0 finished", "second pruned 0 finished"]
    assert states(tmp_path) == expected
    assert "first vanilla: ended without a word" in " ".join(capsys.readouterr().out.split())
    assert matrix(tmp_path, *words, "--status") == 1
    assert states(tmp_path) == expected
    assert len(submitted) == 4


@pytest.mark.usefixtures("submitted")
def test_what_no_run_can_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = network(tmp_path)
    refusals = {
        (path, "resnet"): "unknown network 'resnet'",
        (path, "--dataset", "imagenet"): "unknown data set 'imagenet'",
        (path, path): "expected each run once, got it twice",
        (path, "--stage", "vanilla", "quantized"): "stage quantized starts from",
        (path, "--jobs", "0"): "jobs: expected 1 or more, got 0",
        (path, "--partition", "fast"): "partition: expected --cluster slurm with it, got local",
    }
    for words, said in refusals.items():
        assert matrix(tmp_path, *words) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "build").exists()
    table = tmp_path / "build" / "matrix" / "results.json"
    table.parent.mkdir(parents=True)
    table.write_text('{"rows": 1}', encoding="utf-8")
    assert matrix(tmp_path, path) == 2
    assert "expected a matrix's results, got something else" in capsys.readouterr().err


def test_jobs_of_slurm_wait_for_the_stage_before(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    words = [network(tmp_path), "--stage", "vanilla", "pruned", "--seed", "0", "1", "--cluster", "slurm", "--time-limit", "7"]
    assert matrix(tmp_path, *words) == 0
    assert "jobs submitted: 4" in capsys.readouterr().out
    wanted = [asked(slurm / str(number)) for number in range(1, 5)]
    assert [job.get("dependency") for job in wanted] == [None, "afterok:1", None, "afterok:3"]
    assert {job["time"] for job in wanted} == {"7"}
    assert [(row["state"], row["job"]) for row in rows(tmp_path)] == [("waiting", f"slurm {number}") for number in range(1, 5)]
    # Jobs that Slurm still has are not submitted again; those that have gone without an end are.
    (slurm / "queue").write_text("1 RUNNING\n2 PENDING\n3 PENDING\n", encoding="utf-8")
    assert matrix(tmp_path, *words) == 0
    assert "jobs submitted: 1" in capsys.readouterr().out
    assert asked(slurm / "5")["dependency"] == "afterok:3"
    (slurm / "queue").write_text("1 RUNNING\n2 PENDING\n5 PENDING\n", encoding="utf-8")
    folder = tmp_path / "build" / "small" / "train-seed-1" / "vanilla" / "jobs"
    cloudpickle_dump(("error", "exit status 2, not finished"), folder / "3_0_result.pkl")
    (folder / "3_0_log.out").write_text("submitit INFO\nerror: it is damaged\nsrun: exited\n", encoding="utf-8")
    assert matrix(tmp_path, *words, "--status") == 1
    assert "small vanilla, seed 1: error: it is damaged (" in capsys.readouterr().out
    assert [row["state"] for row in rows(tmp_path)] == ["running", "waiting", "failed", "waiting"]
    assert not (slurm / "6").exists()


def test_stages_are_those_that_a_network_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    chains = plan([network(tmp_path), "fusionet-nano"], ["cifar10", "svhn"], None, [0], Common(build=tmp_path))
    assert [[combination.run.stage for combination in chain] for chain in chains[:2]] == [
        ["vanilla", "pruned", "quantized"],
        ["vanilla", "pruned", "pred", "quantized"],
    ]
    assert [chain[0].run.folder.parts[-3] for chain in chains] == [
        "small", "fusionet-nano", "small-svhn", "fusionet-nano-svhn",
    ]  # fmt: skip
    with pytest.raises(ArchonError, match="which is missing: train that stage first"):
        plan(["fusionet-nano"], ["svhn"], ["pruned"], [0], Common(build=tmp_path))
    assert plan([network(tmp_path)], ["cifar10"], ["pred"], [0], Common(build=tmp_path)) == []
