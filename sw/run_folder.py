"""What a training run leaves in its folder, BUILD/NETWORK/train/STAGE, and what it says of where its weights come from."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hw.contract.errors import ArchonError

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
LOG = "log.csv"


class RunFacts(BaseModel):
    """The part of CONFIG that a bundle repeats."""

    model_config = ConfigDict(extra="ignore")

    class Recipe(BaseModel):
        """The part of the recipe."""

        epochs: int

    stage: str
    seed: int
    recipe: Recipe
    test_images: list[int]
    """Shape."""
    test_accuracy: float
    """In floats with the stage's quantisation, 0 to 1."""
    dataset: str = "cifar10"
    widened_from: str | None = None

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
    path = folder / CONFIG
    if not path.is_file():
        raise ArchonError(f"{path} is missing: expected it beside {WEIGHTS}, as training leaves it")
    try:
        return RunFacts.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected the settings of a finished training run, got something else") from error
