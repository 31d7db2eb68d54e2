"""Runs as jobs: what is submitted is what would run here, to Slurm with what was asked for, and it resumes when cut off."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App
from submitit.core.utils import DelayedSubmission, cloudpickle_dump

from hw.contract.errors import ArchonError
from sw.__main__ import app
from sw.datasets import DATASETS
from sw.run_folder import CHECKPOINT, WEIGHTS, finished_accuracy
from sw.test_task import SPEC, excerpt_datasets
from sw.train import cluster, run
from sw.train.checkpoint import write_config, write_log
from sw.train.here import train_here
from sw.train.job import TrainingJob, UnfinishedError
from sw.train.options import Cluster, Options
from sw.train.settings import Run

SBATCH = """#!/bin/sh
folder=$(dirname "$0")
echo . >> "$folder/submitted"
cp "$1" "$folder/$(wc -l < "$folder/submitted")"
echo "Submitted batch job $(wc -l < "$folder/submitted")"
"""
"""Numbers jobs from 1 and keeps what it is given under their numbers."""
SQUEUE = '#!/bin/sh\ncat "$(dirname "$0")/queue" 2>/dev/null || true\n'


class ExcerptJob(TrainingJob):
    """A job whose process takes the excerpt for all data sets."""

    def __call__(self) -> int:
        DATASETS.update(excerpt_datasets())
        return super().__call__()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network's description; the excerpt is the data."""
    for name, dataset in excerpt_datasets().items():
        monkeypatch.setitem(DATASETS, name, dataset)
    path = tmp_path / "small.toml"
    path.write_text(SPEC, encoding="utf-8")
    return str(path)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of commands that do as Slurm's."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": "#!/bin/sh\n", "squeue": SQUEUE}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def asked(script: Path) -> dict[str, str]:
    """What a batch script asks Slurm for."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_slurm_is_asked_for_what_the_options_say(
    small: str, slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--epochs", "1", "--images", "150", "--build", str(tmp_path / "build")]
    command = ["train", small, *options, "--cluster", "slurm", "--partition", "fast", "--time-limit", "30", "--gpus", "2"]
    assert app([*command, "--cpus", "3", "--memory", "9"], result_action="return_value") == 0
    expected = {"partition": "fast", "time": "30", "gpus-per-node": "2", "cpus-per-task": "3", "mem": "9GB"}
    expected |= {"job-name": "small-vanilla-0", "signal": "USR2@120", "requeue": "", "ntasks-per-node": "1"}
    wanted = asked(slurm / "1")
    assert expected.items() <= wanted.items()
    assert "dependency" not in wanted
    folder = tmp_path / "build" / "small" / "train" / "vanilla" / "jobs"
    assert f"export PYTHONPATH={Path(__file__).parents[2]}" in (slurm / "1").read_text()
    said = capsys.readouterr().out
    assert f"job 1, log {folder / '1_0_log.out'}" in said
    assert "squeue -j 1" in said
    job = DelayedSubmission.load(folder / "1_submitted.pkl").function
    assert isinstance(job, TrainingJob)
    assert (job.network, job.options) == (small, Options(epochs=1, images=150, build=tmp_path / "build"))
    assert job.raises


def test_slurm_has_defaults(slurm: Path, tmp_path: Path) -> None:
    cluster.executor_of(Cluster("slurm"), "name", tmp_path).submit(print)
    cluster.executor_of(Cluster("slurm", gpus=0), "name", tmp_path, after="1").submit(print)
    first, second = asked(slurm / "1"), asked(slurm / "2")
    assert {"time": "240", "gpus-per-node": "1", "cpus-per-task": "4", "mem": "16GB"}.items() <= first.items()
    assert "gpus-per-node" not in second
    assert second["dependency"] == "afterok:1"
    assert second["kill-on-invalid-dep"] == "yes"


def test_what_cannot_be_is_refused_before_submission(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    build = ["--build", str(tmp_path / "build")]
    refusals = {
        ("--cluster", "slurm"): "expected Slurm's sbatch and srun on the PATH, found none",
        ("--cluster", "local", "--stage", "pruned"): "which is missing: train that stage first",
        ("--cluster", "local", "--images", "16"): "expected at least a batch of 64 training images, got 16",
        ("--cluster", "local", "--images", "999"): "expected 1 to 200 images, got 999",
        ("--cluster", "local", "--stage", "pred"): "none of this network's blocks is fused",
        ("--cluster", "local", "--partition", "fast"): "partition: expected --cluster slurm with it, got local",
        ("--gpus", "1"): "gpus: expected --cluster local or slurm with it, got none",
        ("--cluster", "slurm", "--cpus", "0"): "cpus: expected 1 or more, got 0",
        ("--cluster", "local", "--seed", "-1"): "seed: expected 0 or more, got -1",
        ("--cluster", "local", "--epochs", "-1"): "epochs: expected 0 or more, got -1",
    }
    for words, said in refusals.items():
        assert app(["train", small, *words, *build], result_action="return_value") == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "build").exists()


def test_what_the_system_refuses_is_said_in_a_sentence(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr("sw.train.job.train_here", lambda *_: 0)
    for command in (["train", small], ["train", small, "--cluster", "local"], ["matrix", small]):
        assert app([*command, "--epochs", "0", "--build", str(file)], result_action="return_value") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: [Errno")
        assert str(file) in error


@pytest.mark.parametrize(
    "words",
    [["train", "--epochs", "0.5"], ["train", "--seed", "1.2"], ["matrix", "--seed", "0", "1.2"], ["matrix", "--jobs", "1."]],
)
def test_numbers_are_not_rounded(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    command = [words[0], small, *words[1:], "--build", str(tmp_path / "build")]
    with pytest.raises(SystemExit):
        app(command)
    said = " ".join(capsys.readouterr().err.replace("│", "").split())
    assert f"expected a whole number, got {words[-1]}" in said
    assert not (tmp_path / "build").exists()


def test_slurms_own_refusal_is_passed_on(small: str, slurm: Path, tmp_path: Path) -> None:
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: fast' >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(ArchonError, match="Slurm refused the job of small vanilla: invalid partition specified: fast"):
        cluster.submit(small, Options(build=tmp_path), Cluster("slurm", partition="fast"))


def test_a_job_trains_what_would_be_trained_here(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Run, list[tuple[int, ...]]]] = []

    def note(run: Run, *data: Any) -> float:
        seen.append((run, [images.images.shape for images in data]))
        return 0.5

    monkeypatch.setattr(run, "train", note)
    monkeypatch.setenv("KERAS_BACKEND", os.environ["KERAS_BACKEND"])
    options = Options(dataset="cifar100", stage="vanilla", seed=3, images=150, test_images=20, epochs=4, build=tmp_path)
    assert train_here(small, options) == 0
    job = TrainingJob(small, options, {"ARCHON_TEST_NOTHING": None})
    assert job() == 0
    assert seen[0] == seen[1]
    assert seen[0][0].folder == tmp_path / "small-100" / "train-seed-3" / "vanilla"
    assert seen[0][1] == [(150, 16, 16, 3), (20, 16, 16, 3)]
    with pytest.raises(UnfinishedError, match="small-100 vanilla: exit status 0, not finished"):
        replace(job, raises=True)()


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(epochs=0, max_minutes=1.5, predictor="constraint", kernel="keras", devices=2, balanced=True, build=Path("b c")),
        Options(survivors_first="0.5", survivors_second="0.25,0.2", images=64, test_images=9, resolution=16, dataset="svhn"),
        Options(stage="quantized", seed=12, resume=True, widen=Path("narrow/train/pruned")),
    ],
)
def test_the_command_of_a_run_asks_for_that_run(options: Options) -> None:
    seen = []
    echo = App()

    @echo.default
    def main(network: str, *, options: Options | None = None) -> None:
        seen.append((network, options or Options()))

    echo(options.arguments("net"), result_action="return_value")
    assert seen == [("net", options)]


def test_a_job_that_was_cut_off_resumes_its_own_run(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed = []

    def note(_: str, options: Options) -> int:
        resumed.append(options.resume)
        return 0

    monkeypatch.setattr("sw.train.job.train_here", note)
    options = Options(build=tmp_path, epochs=2)
    job = TrainingJob(small, options, {})
    queued = job.checkpoint()
    assert queued is not None
    again = queued.function
    again()  # there is nothing to resume
    folder = options.run(small).folder
    folder.mkdir(parents=True)
    (folder / CHECKPOINT).touch()
    write_config(folder, options.run(small).settings() | {"recipe": {"epochs": 9, "rate": 1.0, "final_rate": 1.0}})
    again()  # another run's
    write_config(folder, options.run(small).settings())
    again()
    job()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    job()
    assert resumed == [False, False, True, False, True]


def test_a_job_that_comes_nowhere_is_not_queued_again(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(build=tmp_path)
    job, folder = TrainingJob(small, options, {}), options.run(small).folder
    for epochs in (0, 0, 1, 1, 1):
        if epochs:
            write_log(folder, [{"epoch": epoch} for epoch in range(1, epochs + 1)])
        queued = job.checkpoint()
        assert queued is not None
        assert isinstance(queued.function, TrainingJob)
        job = queued.function
    assert job.checkpoint() is None
    assert "3 turns in a row ended before an epoch did: expected a longer --time-limit" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_here_end_as_they_do(tmp_path: Path) -> None:
    def fall() -> int:
        raise ValueError("no such luck")

    def die() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    executor = cluster.executor_of(Cluster("local"), "name", tmp_path)
    jobs = [executor.submit(int, 2), executor.submit(fall), executor.submit(die)]
    for job in jobs:
        job.wait()
    assert [cluster.status_of(job) for job in jobs] == [2, 1, None]
    assert cluster.last_words(jobs[1].paths.stdout) == f"ValueError: no such luck ({jobs[1].paths.stdout})"


@pytest.mark.slow
def test_a_process_trains_here(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "TrainingJob", ExcerptJob)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = ["train", small, "--epochs", "1", "--build", str(tmp_path), "--cluster", "local", "--kernel", "keras"]
    assert app(command, result_action="return_value") == 0
    folder = tmp_path / "small" / "train" / "vanilla"
    accuracy, said = finished_accuracy(folder), capsys.readouterr().out
    assert accuracy is not None
    assert f"test accuracy {100 * accuracy:.2f} %" in said
    assert (folder / WEIGHTS).exists()
    logs = list((folder / "jobs").glob("*_0_log.out"))
    assert len(logs) == 1
    assert f"tail -F {logs[0]}" in said


def test_gpus_are_shared_out_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cluster.visible_gpus(None) is None
    assert cluster.visible_gpus(2, slot=1) == ["2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    assert cluster.visible_gpus(1, slot=2) == ["7"]
    with pytest.raises(ArchonError, match="gpus: expected 4 in CUDA_VISIBLE_DEVICES, 2 a job, got '4,5,7'"):
        cluster.visible_gpus(2, slot=1)


def test_jobs_of_slurm_that_failed_are_told_from_those_out_of_time(tmp_path: Path) -> None:
    assert not cluster.slurm_failed(tmp_path, "5")
    outcomes = [("error", "UnfinishedError: small vanilla: exit status 2, not finished"), ("success", 0)]
    outcomes.append(("error", "UnfinishedError: small vanilla: exit status 0, not finished"))
    for number, outcome in enumerate(outcomes):
        cloudpickle_dump(outcome, tmp_path / f"{number}_0_result.pkl")
    assert [cluster.slurm_failed(tmp_path, str(number)) for number in range(3)] == [True, False, False]
