"""Run folders: which one a row of the table is of, whether its figures can be trusted, and what is special about it."""

from dataclasses import dataclass
from fractions import Fraction
from math import isclose
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.results.subjects import Sources, Subject
from sw.run_folder import ACCURACY, CONFIG, LOG, FinishedRun, RunSettings, logged_epochs, read_finished, read_log
from sw.spec import parse_spec
from sw.train.recipe import shares_text


@dataclass(frozen=True)
class FoundRun:
    """A run folder; without facts, one of a run that has not come to its end."""

    folder: Path
    facts: FinishedRun | None

    @property
    def log(self) -> Path:
        """What shows its figures: the log, or the settings where an earlier version trained no epochs."""
        path = self.folder / LOG
        return path if path.exists() else self.folder / CONFIG


def find_run(sources: Sources, subject: Subject, stage: str) -> FoundRun | None:
    """The first finished run of a stage, else the first one that was begun.

    Raises:
        ArchonError: settings that are not those of a run.
    """
    folders = [folder for folder in sources.run_folders(subject.spec.name, stage) if (folder / CONFIG).exists()]
    runs = [FoundRun(folder, read_finished(folder)) for folder in folders]
    return next((run for run in runs if run.facts is not None), runs[0] if runs else None)


def faults(run: FoundRun, facts: FinishedRun, subject: Subject, stage: str) -> list[str]:
    """Why a run's figures cannot be shown; empty if they can."""
    found = []
    for what, expected, got in (("stage", stage, facts.stage), ("data set", subject.dataset, facts.dataset)):
        if got != expected:
            found.append(f"{CONFIG}: expected the {what} {expected}, got {got}")
    if facts.network is not None and not _is_of(facts, subject):
        found.append(f"{CONFIG}: expected the network as it is described now, got another one")
    if evaluated_on(facts, subject) > subject.images:
        found.append(f"{CONFIG}: expected at most {subject.images} test images, got {evaluated_on(facts, subject)}")
    return found + _log_faults(run.folder, facts)


def _is_of(facts: FinishedRun, subject: Subject) -> bool:
    try:
        return subject.spec.is_same(parse_spec(facts.network or {}))
    except ArchonError:
        return False


def _log_faults(folder: Path, facts: FinishedRun) -> list[str]:
    """No figure without a log that shows it: the last epoch's accuracy must be the one in the settings."""
    try:
        epochs, rows = facts.recipe.epochs, read_log(folder)
    except ArchonError as error:
        return [str(error)]
    if not epochs and not rows:  # earlier versions left no log of a run without epochs
        return []
    if (counted := logged_epochs(rows)) != epochs:
        return [f"{LOG}: expected {epochs} epochs, got {counted}"]
    try:
        logged = float(rows[-1][ACCURACY])
    except (KeyError, TypeError, ValueError):
        return [f"{LOG}: expected a {ACCURACY} of the last epoch, got none"]
    if not isclose(logged, facts.test_accuracy, abs_tol=1e-9):
        return [f"{LOG}: expected the accuracy {facts.test_accuracy} after the last epoch, as in {CONFIG}, got {logged}"]
    return []


def evaluated_on(facts: FinishedRun, subject: Subject) -> int:
    """How many images a run was evaluated on; 0 if it cannot be known.

    Old runs do not say. The accuracy is a share of them, so their number is a multiple of the reduced fraction's denominator:
    where that is the whole test set, it was the whole test set.
    """
    if facts.test_images is not None:
        return facts.test_images[0]
    share = Fraction(facts.test_accuracy).limit_denominator(subject.images)
    exact = isclose(share, facts.test_accuracy, rel_tol=1e-12)
    return subject.images if exact and share.denominator == subject.images else 0


def notes(facts: FinishedRun, subject: Subject) -> list[str]:
    """What a reader must know of a run besides its figures."""
    epochs = facts.recipe.epochs
    said = [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
    if facts.stage == "pred" and not epochs:
        said = ["calibrated, not trained"]
    if facts.widened_from is not None:
        said.append(f"grown from {facts.widened_from}")
    if facts.started_from is not None:
        said.append(f"started from {facts.started_from}")
    shape = facts.training_images
    if shape is not None and epochs and shape[0] < subject.training_images:
        said.append(f"trained on {shape[0]:,} of {subject.training_images:,} images")
    size = facts.test_images or shape
    if size is not None and size[1:3] != [subject.spec.height, subject.spec.width]:
        said.append(f"images of {size[1]}x{size[2]} pixels")
    if facts.recipe.survivor_weight and subject.spec.predicts:
        counted = ", by what they add up" if facts.recipe.survivor_costs else ""
        said.append(f"survivors limited to {_limits(facts, subject)}{counted}")
    if facts.recipe.dense_predictors:
        said.append("dense predictors")
    if not facts.recipe.value_biases:
        said.append("no b1, b2")
    if facts.predictor != "forward":
        said.append(f"predictor: {facts.predictor}")
    if is_balanced(facts):
        said.append("pruned evenly over input channels")
    if facts.test_images is None:
        known = evaluated_on(facts, subject)
        share = f"a share of no fewer than {known:,}" if known else "a share of an unknown number"
        said.append(f"{share} test images ({CONFIG} does not say of how many)")
    return said


def _limits(facts: FinishedRun, subject: Subject) -> str:
    """Of both ReLUs; where all blocks are pairs, whose second one is exact, of the first one alone."""
    first, second = (shares_text(shares) for shares in (facts.recipe.survivors_first, facts.recipe.survivors_second))
    return f"{first} / {second}" if any(block.kind == "fused" for block in subject.spec.blocks) else f"{first} / -"


def is_balanced(facts: RunSettings) -> bool:
    """Whether blocks were pruned evenly over their input channels."""
    return bool((facts.network or {}).get("sparsity", {}).get("balanced", False))
