"""What a training run leaves in its folder, BUILD/NETWORK/train/STAGE, and what it says of where its weights come from."""

import csv
import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hw.contract.errors import ArchonError

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
LOG = "log.csv"

KEPT_RUNS = Path(__file__).parent / "train" / "runs"
"""Run folders that come with the project, NETWORK/STAGE."""


class RunSettings(BaseModel):
    """The part of CONFIG that people ask for, of any run: a running one, or one of a version that wrote less."""

    model_config = ConfigDict(extra="ignore")

    class Recipe(BaseModel):
        """The part of the recipe."""

        epochs: int

    stage: str
    seed: int
    recipe: Recipe
    test_images: list[int] | None = None
    """Shape."""
    test_accuracy: float | None = None
    """In floats with the stage's quantisation, 0 to 1; None until the run has ended."""
    dataset: str = "cifar10"
    widened_from: str | None = None


class RunFacts(RunSettings):
    """The part of a finished run's CONFIG that a bundle repeats."""

    test_images: list[int]
    test_accuracy: float

    def provenance(self) -> dict[str, str]:
        """As text by name, for a bundle."""
        facts = {
            "weights": "trained",
            "dataset": self.dataset,
            "stage": self.stage,
            "epochs": str(self.recipe.epochs),
            "seed": str(self.seed),
            "accuracy": f"{100 * self.test_accuracy:.2f} % of {self.test_images[0]} test images, in floats",
        }
        if self.widened_from is not None:
            facts["grown_from"] = self.widened_from
        return facts


def read_facts(folder: Path) -> RunFacts:
    """The facts of a finished run.

    Raises:
        ArchonError: CONFIG is missing or not what a finished run leaves.
    """
    return _read(folder, RunFacts, "a finished training run")


def read_settings(folder: Path) -> RunSettings:
    """The settings of a run, finished or not.

    Raises:
        ArchonError: CONFIG is missing or not what training writes.
    """
    return _read(folder, RunSettings, "a training run")


def read_log(folder: Path, epochs: int | None = None) -> list[dict[str, str]]:
    """Rows of the log, for the first `epochs` epochs if they are given; none where there is no log."""
    path = folder / LOG
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))[:epochs]


Settings = TypeVar("Settings", bound=RunSettings)


def _read(folder: Path, kind: type[Settings], what: str) -> Settings:
    path = folder / CONFIG
    if not path.is_file():
        raise ArchonError(f"{path} is missing: expected it beside {WEIGHTS}, as training leaves it")
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected the settings of {what}, got something else") from error
