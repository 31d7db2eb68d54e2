"""What a network's runs of training left, stage by stage, and the accuracy of its integers."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hw.contract.errors import ArchonError
from sw.curves import EPOCH, Curves, read_curves
from sw.run_folder import ACCURACY, CONFIG, KEPT_RUNS, RunSettings, read_settings, stages_folder
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
        """How many are in the log."""
        return len(self.curves.get(EPOCH, ()))

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


class Integers(BaseModel):
    """What `archon evaluate` found of a bundle: the part of evaluation.json that is shown."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    accuracy: float
    """0 to 1."""
    images: int
    bundle: str
    """The file's name."""
    provenance: dict[str, str]


def read_stages(network: str, build: Path) -> tuple[Stage, ...]:
    """The stages that were trained, in order: each from BUILD/NETWORK/train, else from the runs that come with the project.

    Raises:
        ArchonError: settings or a log that training does not write.
    """
    places = [
        (stage, folder) for stage in STAGES for folder in (stages_folder(build, network) / stage, KEPT_RUNS / network / stage)
    ]
    found: dict[str, Stage] = {}
    for name, folder in places:
        if name not in found and (folder / CONFIG).is_file():
            kept = folder.is_relative_to(KEPT_RUNS)
            found[name] = Stage(name, read_settings(folder), read_curves(folder), kept)
    return tuple(found.values())


def read_integers(network: str, bundle: Path, provenance: dict[str, str], build: Path) -> Integers | None:
    """What was measured of this bundle; None where nothing was, or only of another one.

    Raises:
        ArchonError: BUILD/NETWORK/evaluation.json is not what archon evaluate writes.
    """
    path = build / network / "evaluation.json"
    if not path.is_file():
        return None
    try:
        found = Integers.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected what archon evaluate writes, got something else; delete it") from error
    return found if (found.bundle, found.provenance) == (bundle.name, provenance) else None
