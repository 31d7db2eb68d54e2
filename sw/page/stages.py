"""What a network's runs of training left, stage by stage, and the accuracy of its integers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sw.arrays import file_digest
from sw.curves import EPOCH, Curves, read_curves
from sw.golden.record import RECORD, read_record, record_path
from sw.run_folder import ACCURACY, CONFIG, KEPT_RUNS, RunSettings, first_having, read_settings, stage_places, stages_folder
from sw.train.recipe import STAGES


@dataclass(frozen=True)
class Stage:
    """One stage of training."""

    name: str
    settings: RunSettings
    curves: Curves
    kept: bool
    """Whether the run comes with the project, as there is none in the build folder."""

    @property
    def epochs(self) -> int:
        """How many are in the log; a run that took none has a row of epoch 0."""
        return sum(epoch > 0 for epoch in self.curves.get(EPOCH, ()))

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.settings.test_accuracy is not None

    @property
    def accuracy(self) -> float | None:
        """On the test images, 0 to 1: in the end, or after the last epoch so far."""
        if self.settings.test_accuracy is not None:
            return self.settings.test_accuracy
        measured = [value for value in self.curves.get(ACCURACY, ()) if not math.isnan(value)]
        return measured[-1] if measured else None


class Integers(NamedTuple):
    """What `archon evaluate` found of a bundle."""

    accuracy: float
    """0 to 1."""
    images: int
    dataset: str
    """Whose test images these were."""
    kept: bool
    """Whether the record comes with the project."""


def read_stages(network: str, build: Path) -> tuple[Stage, ...]:
    """The stages that were trained, in order: each from BUILD/NETWORK/train, else from the runs that come with the project.

    Raises:
        ArchonError: settings or a log that training does not write.
    """
    trained = stages_folder(build, network)
    found = ((stage, first_having(stage_places(trained, network, stage), CONFIG)) for stage in STAGES)
    return tuple(
        Stage(stage, read_settings(folder), read_curves(folder), folder.is_relative_to(KEPT_RUNS))
        for stage, folder in found
        if folder is not None
    )


def read_integers(network: str, bundle: Path, build: Path) -> Integers | None:
    """What was measured of this very bundle on most images, in BUILD or before it came with the project; None: nothing was.

    Raises:
        ArchonError: BUILD/NETWORK/integers.json is not what archon evaluate writes.
    """
    wanted = file_digest(bundle)
    found: list[Integers] = []
    for path, kept in ((record_path(build, network, bundle), False), (KEPT_RUNS / network / RECORD, True)):
        record = read_record(path) if path.is_file() else None
        if record is not None and record.bundle_sha256 == wanted:
            found += [
                Integers(evaluation.correct / evaluation.images, evaluation.images, record.dataset, kept)
                for evaluation in record.evaluations.values()
            ]
    return max(found, key=lambda integers: integers.images, default=None)
