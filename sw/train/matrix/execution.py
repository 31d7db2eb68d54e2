"""The runs of a matrix, one process a run: here, some chains at a time, or as jobs of Slurm that wait for each other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress, TaskID

from sw.run_folder import finished_accuracy, logged_epochs, read_log
from sw.train.cluster import (
    JOBS,
    POLL,
    Job,
    active_jobs,
    ended_with,
    epochs_progress,
    last_words,
    slurm_failed,
    status_of,
    submit,
    visible_gpus,
)
from sw.train.matrix.plan import Chain, Combination, progress
from sw.train.matrix.results import Results, Row, State, row_of
from sw.train.options import Cluster
from sw.train.settings import progress_of


@dataclass
class _Active:
    """A chain of which a run is being trained."""

    rest: Chain
    combination: Combination
    job: Job
    slot: int
    task: TaskID


class LocalMatrix:
    """Trains chains in processes of this machine.

    Args:
        results: that say how far the runs have come.
        cluster: what the processes may have.
        console: for what happens.
    """

    def __init__(self, results: Results, cluster: Cluster, console: Console) -> None:
        self._results, self._cluster, self._console = results, cluster, console
        self._jobs: list[Job] = []
        self._active: list[_Active] = []

    def run(self, chains: Sequence[Chain], at_a_time: int) -> None:
        """Train what is not finished; a run that fails ends its own chain alone.

        Raises:
            ArchonError: there are not GPUs enough for the processes.
        """
        waiting = [chain for chain in (_unfinished(chain) for chain in chains) if chain]
        slots = list(range(min(at_a_time, len(waiting))))
        try:
            with ended_with(self._jobs), epochs_progress(self._console) as bars:
                while waiting or self._active:
                    while waiting and slots:
                        self._begin(waiting.pop(0), slots.pop(0), bars)
                    time.sleep(POLL)
                    slots += self._look(bars)
        finally:
            self._results.put(_cut_off(active) for active in self._active)

    def _begin(self, chain: Chain, slot: int, bars: Progress) -> None:
        """Start the first run of a chain."""
        combination, *rest = chain
        job = submit(combination.network, combination.options, self._cluster, gpus=visible_gpus(self._cluster.gpus, slot))
        self._jobs.append(job)
        task = bars.add_task(combination.name, total=combination.run.recipe.epochs)
        self._active.append(_Active(rest, combination, job, slot, task))
        self._results.put([_with_job(row_of(combination, "running"), "local", job)])

    def _look(self, bars: Progress) -> list[int]:
        """Take up what has ended, and go on with its chain; the slots that have become free."""
        free = []
        for active in list(self._active):
            bars.update(active.task, completed=logged_epochs(read_log(active.combination.run.folder)))
            if not active.job.done():
                continue
            bars.remove_task(active.task)
            self._active.remove(active)
            if self._ended(active) == "finished" and active.rest:
                self._begin(active.rest, active.slot, bars)
            else:
                free.append(active.slot)
        return free

    def _ended(self, active: _Active) -> State:
        """Note and say how a run has ended."""
        run, log = active.combination.run, active.job.paths.stdout
        status, accuracy = status_of(active.job), finished_accuracy(run.folder)
        state: State = "interrupted"
        said = f"cut off or time is up, the same command goes on ({log})"
        if status or (status is None and progress_of(run) == "waiting"):
            state, said = "failed", last_words(log)
        elif status == 0 and accuracy is not None:
            state, said = "finished", f"test accuracy {100 * accuracy:.2f} %, weights in {run.folder}"
        self._console.print(f"{active.combination.name}: {said}", highlight=False, soft_wrap=True)
        self._results.put([_with_job(row_of(active.combination, state), "local", active.job)])
        return state


def _unfinished(chain: Chain) -> Chain:
    """What is left to train of a chain, to be resumed where that is possible."""
    pairs = zip(chain, progress(chain), strict=True)
    return [combination.to_train(how) for combination, how in pairs if how != "finished"]


def _cut_off(active: _Active) -> Row:
    """The row of a run whose process was ended with this one, or just before."""
    how = progress_of(active.combination.run, active.combination.images)
    return _with_job(row_of(active.combination, "finished" if how == "finished" else "interrupted"), "local", active.job)


def _with_job(row: Row, cluster: str, job: Job) -> Row:
    return row.model_copy(update={"job": f"{cluster} {job.job_id}", "log": str(job.paths.stdout)})


def submit_chains(chains: Sequence[Chain], results: Results, cluster: Cluster) -> int:
    """Submit what is neither finished nor among Slurm's jobs, each stage to begin when the one before has succeeded.

    Args:
        chains: of the matrix.
        results: that hold the jobs of earlier calls.
        cluster: what Slurm is asked for.

    Returns:
        How many jobs were submitted.

    Raises:
        ArchonError: Slurm is not there, or refuses a job.
    """
    queue, count = active_jobs(), 0
    for chain in chains:
        after = None
        for combination, how in zip(chain, progress(chain), strict=True):
            row = results.find(combination)
            if how == "finished":
                after = None
            elif row is not None and (number := _slurm_number(row)) in queue:
                after = number
            else:
                chosen = combination.to_train(how)
                job = submit(chosen.network, chosen.options, cluster, after=after)
                after, count = job.job_id, count + 1
                results.put([_with_job(row_of(combination, "waiting"), "slurm", job)])
    return count


def look(chains: Sequence[Chain], results: Results) -> None:
    """Bring the rows of the chains up to date with the run folders and Slurm's queue.

    Raises:
        ArchonError: there are jobs of Slurm, and Slurm does not answer.
    """
    known = [results.find(combination) for chain in chains for combination in chain]
    queue = active_jobs() if any(row is not None and _slurm_number(row) for row in known) else {}
    for chain in chains:
        pairs = zip(chain, progress(chain), strict=True)
        results.put([_state_row(combination, how, results.find(combination), queue) for combination, how in pairs])


def _state_row(combination: Combination, how: str, row: Row | None, queue: dict[str, str]) -> Row:
    number = None if row is None else _slurm_number(row)
    state: State = "finished" if how == "finished" else "interrupted" if how == "interrupted" else "waiting"
    if number is not None and number in queue:
        state = "running" if queue[number] in {"RUNNING", "COMPLETING"} else "waiting"
    elif state != "finished" and row is not None:
        slurm = number is not None and slurm_failed(combination.run.folder / JOBS, number)
        state = "failed" if slurm or (number is None and row.state == "failed") else state
    return row_of(combination, state, row)


def _slurm_number(row: Row) -> str | None:
    """Number of the job of Slurm that a row is of."""
    cluster, _, number = (row.job or "").partition(" ")
    return number if cluster == "slurm" else None
