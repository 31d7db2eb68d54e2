"""Whether a run may begin or go on in its folder, which may hold the beginning of it, or another run; without Keras."""

from dataclasses import dataclass
from typing import Any, Literal

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.run_folder import CHECKPOINT, CONFIG, WEIGHTS, finished_accuracy, read_config, read_settings
from sw.train.settings import START, Run, differences, digest, resumes, start_place

EPOCH = "epoch"
"""In CHECKPOINT: number of epochs that are done."""
PROLONGED = "prolonged"
"""In CONFIG: a list of [epochs done, epochs planned before, epochs planned then], where the plan was changed on the way."""
SHOWN = 6
"""So many differences are named."""


@dataclass(frozen=True)
class Way:
    """How a run goes on in its folder.

    Attributes:
        how: begin: whatever is there is deleted; resume: from the checkpoint; finished: there is nothing to do.
        noted: what CONFIG says of the run's past.
    """

    how: Literal["begin", "resume", "finished"]
    noted: dict[str, Any]


def way_of(run: Run, images: dict[str, list[int]]) -> Way:
    """How a run goes on in its folder.

    Args:
        run: what is asked for.
        images: as `shapes` gives them.

    Raises:
        ArchonError: the run to be resumed was begun with other settings or from another checkpoint; or there is a run that
            would be lost, and nothing says that it may be.
    """
    if run.resume and run.anew:
        raise ArchonError("expected --resume or --anew, got both")
    if resumes(run):
        return _resumed(run, images)
    if not run.anew:
        _check_nothing_is_lost(run)
    return Way("begin", {})


def epochs_done(run: Run) -> int:
    """Number of epochs in a run's checkpoint, 0 without one.

    Raises:
        ArchonError: it is damaged, or no checkpoint.
    """
    path = run.folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        found = load_arrays(path, only=[EPOCH])
    except ArchonError as error:
        raise ArchonError(f"{error}; --anew deletes the run and begins again") from error
    if EPOCH not in found:
        raise ArchonError(f"{path}: expected a checkpoint of a run, got one without {EPOCH}; --anew begins again")
    return int(found[EPOCH])


def _check_nothing_is_lost(run: Run) -> None:
    """Raise ArchonError if the folder holds epochs, or weights that took some."""
    done, accuracy = epochs_done(run), finished_accuracy(run.folder)
    planned = ((read_config(run.folder) or {}).get("recipe") or {}).get("epochs")
    if not done and (planned == 0 or not (run.folder / WEIGHTS).exists()):
        return
    held = f"{done} of {'?' if planned is None else planned} epochs"
    if accuracy is not None:
        held = f"{planned} epochs, finished, test accuracy {100 * accuracy:.2f} %"
    raise ArchonError(
        f"{run.folder} holds a run ({held}): expected --resume to continue it, or --anew to delete it and begin again"
    )


def _resumed(run: Run, images: dict[str, list[int]]) -> Way:
    done = epochs_done(run)
    planned = read_settings(run.folder).recipe.epochs
    config = read_config(run.folder) or {}
    found = differences(run, config, images)
    if run.prolong:
        found.pop("epochs", None)
    if found:
        was, asked = (_listed({name: values[side] for name, values in found.items()}) for side in (0, 1))
        raise ArchonError(f"{run.folder} was begun with {was}; got {asked}: give the same, or begin again with --anew")
    if run.recipe.epochs < done:
        raise ArchonError(f"epochs: expected at least {done}, which are done in {run.folder}, got {run.recipe.epochs}")
    _check_start(run, config)
    noted = {START: config.get(START)}
    prolonged = list(config.get(PROLONGED, []))
    if planned != run.recipe.epochs:
        prolonged.append([done, planned, run.recipe.epochs])
    elif finished_accuracy(run.folder) is not None:
        return Way("finished", {})
    return Way("resume", noted | ({PROLONGED: prolonged} if prolonged else {}))


def _check_start(run: Run, config: dict[str, Any]) -> None:
    """Raise ArchonError if what the run started from is another checkpoint now; it may have gone."""
    try:
        start = start_place(run)
    except ArchonError:
        return
    if None not in (start, config.get(START)) and config[START] != digest(start):
        raise ArchonError(
            f"{run.folder} did not start from {start} as it is now: expected the same checkpoint ({CONFIG} has its digest), "
            "or --anew to begin again from this one"
        )


def _listed(values: dict[str, Any]) -> str:
    said = [f"{name} {'none' if value is None else value}" for name, value in values.items()]
    more = [f"{len(said) - SHOWN} more"] if len(said) > SHOWN else []
    return ", ".join(said[:SHOWN] + more)
