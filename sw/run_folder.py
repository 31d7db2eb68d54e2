"""What a training run leaves in its folder, BUILD/NETWORK/train/STAGE, and what it says of where its weights come from."""

import csv
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.contract.errors import ArchonError

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
LOG = "log.csv"
KEPT_RUNS = Path(__file__).parent / "train" / "runs"
"""Run folders that come with the project, NETWORK/STAGE."""

_ACCURACY = "test_accuracy"
"""In CONFIG of a finished run only."""


class RunFacts(BaseModel):
    """The part of CONFIG that bundles and the table of results repeat; what older runs do not say is None."""

    model_config = ConfigDict(extra="ignore")

    class Recipe(BaseModel):
        """The part of the recipe."""

        epochs: int
        survivors_first: float = 1.0
        survivors_second: float = 1.0
        survivor_weight: float = 0.0

    stage: str
    seed: int
    recipe: Recipe
    test_accuracy: Annotated[float, Field(ge=0, le=1)]
    """In floats with the stage's quantisation."""
    training_images: Annotated[list[int], Field(min_length=4, max_length=4)] | None = None
    """Shape."""
    test_images: Annotated[list[int], Field(min_length=4, max_length=4)] | None = None
    """Shape."""
    dataset: str = "cifar10"
    widened_from: str | None = None
    predictor: str = "forward"
    network: dict[str, Any] | None = None
    """Its description."""

    def provenance(self) -> dict[str, str]:
        """As text by name, for a bundle."""
        images = "test images" if self.test_images is None else f"{self.test_images[0]} test images"
        facts = {
            "weights": "trained",
            "dataset": self.dataset,
            "stage": self.stage,
            "epochs": str(self.recipe.epochs),
            "seed": str(self.seed),
            "accuracy": f"{100 * self.test_accuracy:.2f} % of {images}, in floats",
        }
        if self.widened_from is not None:
            facts["grown_from"] = self.widened_from
        return facts


def read_facts(folder: Path) -> RunFacts:
    """The facts of a finished run.

    Raises:
        ArchonError: CONFIG is missing or not what a finished run leaves.
    """
    try:
        return RunFacts.model_validate(_read_config(folder))
    except ValidationError as error:
        raise _foreign(folder) from error


def is_finished(folder: Path) -> bool:
    """Whether a run came to its end.

    Raises:
        ArchonError: CONFIG is missing or damaged.
    """
    return _ACCURACY in _read_config(folder)


def read_log(folder: Path, epochs: int | None = None) -> list[dict[str, str]]:
    """Rows of the log, for the first `epochs` epochs or for all."""
    path = folder / LOG
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))[:epochs]


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ArchonError(f"{path} is missing: expected it beside {WEIGHTS}, as training leaves it")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _foreign(folder) from error
    if not isinstance(config, dict):
        raise _foreign(folder)
    return config


def _foreign(folder: Path) -> ArchonError:
    return ArchonError(f"{folder / CONFIG}: expected the settings of a finished training run, got something else")
