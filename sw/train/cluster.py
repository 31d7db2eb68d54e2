"""Submission of runs by submitit, as processes on this machine or as jobs of Slurm, and waiting for those here."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import submitit
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from submitit.core.utils import FailedJobError, JobPaths, pickle_load
from submitit.helpers import environment_variables

from hw.contract.errors import ArchonError
from sw.run_folder import finished_accuracy, logged_epochs, read_log
from sw.train.begun import way_of
from sw.train.here import ended
from sw.train.job import TrainingJob
from sw.train.options import Cluster, Options
from sw.train.settings import Run, check_images, resumes, shapes, start_of

JOBS = "jobs"
"""In a run folder: what submitit writes, the jobs' logs among it."""
CARRIED = ("KERAS_BACKEND", "ARCHON_DATA", "JAX_PLATFORMS", "XLA_FLAGS")
"""Variables that a job gets even where Slurm is told to pass none on."""
TIME_LIMIT, CPUS, MEMORY, GPUS = 240, 4, 16, 1
"""What Slurm is asked for by default: minutes, processors, GB, GPUs."""
WARNING_SECONDS = 120
"""A job is told so long before its time is up."""
REQUEUES = 100
"""How often a job whose time is up is queued again."""
FOREVER = 60 * 24 * 365
"""Minutes of a process here that has no limit."""
POLL = 0.5
"""Seconds between two looks at the processes."""
ENDING = 5.0
"""Seconds in which a process ends that was asked to."""
FAILED = 1
"""Exit status of a process that an error has ended, or that was cut off."""

Job = submitit.Job[int]


def executor_of(cluster: Cluster, name: str, folder: Path, after: str | None = None) -> submitit.AutoExecutor:
    """What submits jobs.

    Args:
        cluster: where, and what is asked for.
        name: of the jobs.
        folder: for logs and for what submitit carries over.
        after: number of the Slurm job that has to succeed first.

    Raises:
        ArchonError: Slurm's commands are not there.
    """
    if cluster.cluster != "slurm":
        executor = submitit.AutoExecutor(folder, cluster="local", local_max_num_timeout=REQUEUES)
        executor.update_parameters(name=name, timeout_min=cluster.time_limit or FOREVER, stderr_to_stdout=True)
        return executor
    need_slurm("sbatch", "srun")
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=REQUEUES)
    executor.update_parameters(
        name=name,
        timeout_min=cluster.time_limit or TIME_LIMIT,
        cpus_per_task=cluster.cpus or CPUS,
        mem_gb=cluster.memory or MEMORY,
        gpus_per_node=(GPUS if cluster.gpus is None else cluster.gpus) or None,
        nodes=1,
        tasks_per_node=1,
        stderr_to_stdout=True,
        slurm_partition=cluster.partition,
        slurm_signal_delay_s=WARNING_SECONDS,
        slurm_setup=[f"export PYTHONPATH={shlex.quote(python_path())}"],
        slurm_dependency=after and f"afterok:{after}",
        slurm_additional_parameters={"kill-on-invalid-dep": "yes", "requeue": True},
    )
    return executor


def need_slurm(*tools: str) -> None:
    """Raise ArchonError unless these of Slurm's commands are there."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise ArchonError(
            f"expected Slurm's {' and '.join(missing)} on the PATH, found none: submit on a login node of the cluster, "
            "or take --cluster local"
        )


def submit(
    network: str, options: Options, cluster: Cluster, after: str | None = None, gpus: Sequence[str] | None = None
) -> Job:
    """Submit a run.

    Args:
        network: as on the command line.
        options: of the run.
        cluster: where to.
        after: number of the Slurm job that has to succeed first.
        gpus: numbers of those that a process here sees; None: as many as `cluster` says.

    Raises:
        ArchonError: there is no Slurm here, or it refuses the job, or there are not so many GPUs.
    """
    run = options.run(network)
    environment: dict[str, str | None] = {name: os.environ[name] for name in CARRIED if name in os.environ}
    if cluster.cluster != "slurm":  # submitit hides all GPUs that it is not asked for
        chosen = visible_gpus(cluster.gpus) if gpus is None else gpus
        environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES") if chosen is None else ",".join(chosen)
    executor = executor_of(cluster, f"{run.spec.name}-{run.stage}-{run.seed}", run.folder / JOBS, after)
    job = TrainingJob(network, options, environment, raises=cluster.cluster == "slurm")
    try:
        with environment_variables(PYTHONPATH=python_path()):
            return executor.submit(job)
    except FailedJobError as error:
        raise ArchonError(f"Slurm refused the job of {run.spec.name} {run.stage}: {error}") from error


def python_path() -> str:
    """PYTHONPATH with which a process finds the project."""
    root = str(Path(__file__).parents[2])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in {"", root}]
    return os.pathsep.join([root, *others])


def visible_gpus(count: int | None, slot: int = 0) -> list[str] | None:
    """Numbers of `count` GPUs for the job in a slot of those that run at a time; None: whatever there is.

    Raises:
        ArchonError: CUDA_VISIBLE_DEVICES has fewer.
    """
    if count is None:
        return None
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    first, end = slot * count, (slot + 1) * count
    if named is None:
        return [str(gpu) for gpu in range(first, end)]
    visible = [gpu for gpu in named.split(",") if gpu]
    if len(visible) < end:
        raise ArchonError(f"gpus: expected {end} in CUDA_VISIBLE_DEVICES, {count} a job, got {named!r}")
    return visible[first:end]


def train_on(network: str, options: Options, cluster: Cluster, console: Console) -> int:
    """Check what can be checked, submit a run, and say how to watch it; a process here is waited for.

    Returns:
        Exit status: of the process here, 0 with Slurm.

    Raises:
        ArchonError: something that the run cannot have, or no Slurm where it was asked for.
    """
    run = options.run(network)
    if not resumes(run):
        start_of(run)
    training, test = options.data(run.spec, run.dataset)
    check_images(run, training)
    way_of(run, shapes(training, test))
    job = submit(network, options, cluster)
    lines = [f"{run.spec.name} {run.stage}: job {job.job_id}, log {job.paths.stdout}", f"watch it: tail -F {job.paths.stdout}"]
    if cluster.cluster == "slurm":
        lines.append(f"its state: squeue -j {job.job_id}; end it: scancel {job.job_id}")
    console.print(*lines, sep="\n", highlight=False, soft_wrap=True)
    if cluster.cluster == "slurm":
        return 0
    wait_for(job, run, console)
    status = status_of(job)
    if status == 0:
        console.print(ended(run, finished_accuracy(run.folder)))
        return status
    said = f"cut off; continue with --resume ({job.paths.stdout})" if status is None else last_words(job.paths.stdout)
    console.print(f"{run.spec.name} {run.stage}: {said}", highlight=False, soft_wrap=True)
    return status or FAILED


def wait_for(job: Job, run: Run, console: Console) -> None:
    """Show the epochs of a process here until it ends; where this process is to end, so is that one."""
    with ended_with([job]), epochs_progress(console) as progress:
        task = progress.add_task(f"{run.spec.name} {run.stage}", total=run.recipe.epochs)
        while not job.done():
            progress.update(task, completed=logged_epochs(read_log(run.folder)))
            time.sleep(POLL)


def epochs_progress(console: Console) -> Progress:
    """A line a run: its epochs and the time."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


@contextmanager
def ended_with(jobs: Sequence[Job]) -> Iterator[None]:
    """At the end, and where this process is asked to end before, the processes of these jobs are ended."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _wait(jobs)  # an interrupt of the terminal has reached them, too
        for job in jobs:
            if not job.done():
                job.cancel(check=False)
        _wait(jobs)


def _wait(jobs: Sequence[Job]) -> None:
    end = time.monotonic() + ENDING
    while time.monotonic() < end and not all(job.done() for job in jobs):
        time.sleep(POLL)


def status_of(job: Job) -> int | None:
    """Exit status of a process here that has ended; None where it was cut off, by its time limit or by somebody."""
    if not job.paths.result_pickle.exists():
        return None
    try:
        return job.result()
    except FailedJobError:
        return FAILED


def last_words(log: Path) -> str:
    """What a job that failed said last, and where it said it."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("submitit ")]
    errors = [line for line in lines if line.startswith("error: ")]
    return f"{(errors or lines or ['ended without a word'])[-1]} ({log})"


def slurm_failed(folder: Path, number: str) -> bool:
    """Whether a job of Slurm ended with an error, other than that its run's own time was up."""
    path = JobPaths(folder, job_id=number).result_pickle
    if not path.exists():
        return False
    outcome, result = pickle_load(path)
    return outcome == "error" and "exit status 0, not finished" not in str(result)


def active_jobs() -> dict[str, str]:
    """State of each job that Slurm has for this user, by its number.

    Raises:
        ArchonError: Slurm does not answer.
    """
    need_slurm("squeue")
    found = subprocess.run(["squeue", "--me", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise ArchonError(f"squeue: expected the jobs in Slurm's queue, got {found.stderr.strip()!r}")
    return dict(line.split(maxsplit=1) for line in found.stdout.splitlines() if line.strip())
