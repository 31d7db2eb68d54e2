"""A run of training as a job: what submitit carries to the process that trains."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from submitit.helpers import DelayedSubmission

from sw.command import refused
from sw.run_folder import finished_accuracy, logged_epochs, read_log
from sw.train.here import train_here
from sw.train.options import Options
from sw.train.settings import progress_of, start_of

MOST_TURNS = 3
"""A job is not queued again after so many turns without a finished epoch."""


class UnfinishedError(RuntimeError):
    """A job's run has not come to its end, so that whatever waits for it must not begin."""


@dataclass(frozen=True)
class TrainingJob:
    """`archon train` with these options; called by submitit, it returns the exit status.

    Args:
        network: as on the command line.
        options: of the run.
        environment: variables to set first; None: to take away.
        raises: raise UnfinishedError where the run did not finish, for a scheduler that reads the exit status of the process.
        restarted: the job was cut off and queued again, so that it resumes.
        epochs: that were done when it was queued last.
        turns: in a row that ended without another epoch.
    """

    network: str
    options: Options
    environment: Mapping[str, str | None]
    raises: bool = False
    restarted: bool = False
    epochs: int = 0
    turns: int = 0

    def __call__(self) -> int:
        """Train."""
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        run = self.options.run(self.network)
        # Slurm counts the restarts of which it gave no warning, those after a node has failed.
        again = self.restarted or os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        resume = self.options.resume or (again and progress_of(run, start=start_of(run)) != "waiting")
        status = train_here(self.network, replace(self.options, resume=resume, anew=self.options.anew and not resume))
        if self.raises and (status or finished_accuracy(run.folder) is None):
            raise UnfinishedError(f"{run.spec.name} {run.stage}: exit status {status}, not finished")
        return status

    def checkpoint(self) -> DelayedSubmission | None:
        """What submitit queues in place of a job whose time is up: the same, resumed; None where it would never end."""
        epochs = logged_epochs(read_log(self.options.run(self.network).folder))
        turns = 0 if epochs > self.epochs else self.turns + 1
        if turns == MOST_TURNS:
            refused(f"{turns} turns in a row ended before an epoch did: expected a longer --time-limit")
            return None
        return DelayedSubmission(replace(self, restarted=True, epochs=epochs, turns=turns))
