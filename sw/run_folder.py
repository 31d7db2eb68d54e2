"""What a training run leaves in its folder, BUILD/NETWORK/train/STAGE, and what it says of where its weights come from."""

import csv
import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.contract.errors import ArchonError

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
LOG = "log.csv"
LOCK = ".lock"
ACCURACY = "test_accuracy"
"""In CONFIG once the run has ended; a column of LOG."""
SPARSITY = "sparsity"
SURVIVORS = ("survivors_first", "survivors_second")
"""Columns of LOG: share of zero weights, and shares of activations that survive a block's two ReLUs (sw.train.measures)."""
KEPT_RUNS = Path(__file__).parent / "train" / "runs"
"""Run folders that come with the project, NETWORK/STAGE."""


def stages_folder(build: Path, network: str, seed: int = 0) -> Path:
    """The folder of a network's stages: BUILD/NETWORK/train, of other seeds than 0 BUILD/NETWORK/train-seed-SEED."""
    return build / network / ("train" if seed == 0 else f"train-seed-{seed}")


def stage_places(trained: Path, network: str, stage: str, seed: int = 0) -> tuple[Path, ...]:
    """Run folders of a stage, the first one first: where `stages_folder` has it; of seed 0, where it comes with the project."""
    return (trained / stage, KEPT_RUNS / network / stage) if seed == 0 else (trained / stage,)


def first_having(folders: Iterable[Path], name: str) -> Path | None:
    """The first of some folders that has a file of this name."""
    return next((folder for folder in folders if (folder / name).is_file()), None)


def find_stage(build: Path, network: str, stage: str, having: str, seed: int = 0) -> Path:
    """The first of these folders, for runs in BUILD, that has a file.

    Raises:
        ArchonError: none of them has.
    """
    places = stage_places(stages_folder(build, network, seed), network, stage, seed)
    folder = first_having(places, having)
    if folder is None:
        raise ArchonError(f"{places[0] / having} is missing: expected what stage {stage} of {network} leaves")
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, no other process trains in the folder, which is made if need be.

    Raises:
        ArchonError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArchonError(f"another process trains in {folder}: expected one at a time") from error
        except OSError:  # a file system without locks
            pass
        yield


def read_config(folder: Path) -> dict[str, Any] | None:
    """The settings that a run noted; None without any, or where they cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def finished_accuracy(folder: Path) -> float | None:
    """Test accuracy, 0 to 1, of a run that has ended; None of another."""
    config = read_config(folder)
    return config.get(ACCURACY) if config is not None and (folder / WEIGHTS).exists() else None


Shape = Annotated[list[int], Field(min_length=4, max_length=4)]
"""Of images: number, height, width, channels."""
Share = Annotated[float, Field(ge=0, le=1)]


class RunSettings(BaseModel):
    """The part of CONFIG that people ask for, of any run: a running one, or one of a version that wrote less."""

    model_config = ConfigDict(extra="ignore")

    class Recipe(BaseModel):
        """The part of the recipe."""

        epochs: int
        survivors_first: float | tuple[float, ...] = 1.0
        survivors_second: float | tuple[float, ...] = 1.0
        survivor_weight: float = 0.0
        survivor_ramp: float = 0.0
        survivor_costs: bool = False
        dense_predictors: bool = False
        value_biases: bool = True

    stage: str
    seed: int
    recipe: Recipe
    training_images: Shape | None = None
    test_images: Shape | None = None
    test_accuracy: Share | None = None
    """Of stage quantized in integers; None until the run has ended."""
    dataset: str = "cifar10"
    widened_from: str | None = None
    started_from: str | None = None
    predictor: str = "forward"
    network: dict[str, Any] | None = None
    """Its description."""


class FinishedRun(RunSettings):
    """The same of a run that has ended."""

    test_accuracy: Share


class RunFacts(FinishedRun):
    """The part of a finished run's CONFIG that a bundle repeats."""

    test_images: Shape

    def provenance(self) -> dict[str, str]:
        """As text by name, for a bundle."""
        facts = {
            "weights": "trained",
            "dataset": self.dataset,
            "stage": self.stage,
            "epochs": str(self.recipe.epochs),
            "seed": str(self.seed),
            "accuracy": f"{100 * self.test_accuracy:.2f} % of {self.test_images[0]} test images",
        }
        if self.widened_from is not None:
            facts["grown_from"] = self.widened_from
        if self.started_from is not None:
            facts["started_from"] = self.started_from
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


def read_finished(folder: Path) -> FinishedRun | None:
    """The settings of a run that has ended; None of one that has not.

    Raises:
        ArchonError: CONFIG is missing or not what training writes.
    """
    settings = read_settings(folder)
    return None if settings.test_accuracy is None else FinishedRun.model_validate(settings.model_dump())


def read_log(folder: Path, epochs: int | None = None) -> list[dict[str, str]]:
    """Rows of the log, for the first `epochs` epochs if they are given; none where there is no log.

    Raises:
        ArchonError: it is no table.
    """
    path = folder / LOG
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))[:epochs]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArchonError(f"{path}: expected a table of epochs, got something else: {error}") from error


def logged_epochs(rows: list[dict[str, str]]) -> int:
    """How many epochs a log has; the row of a run that took none, which is numbered 0, does not count."""
    return sum(row.get("epoch") != "0" for row in rows)


Settings = TypeVar("Settings", bound=RunSettings)


def _read(folder: Path, kind: type[Settings], what: str) -> Settings:
    path = folder / CONFIG
    if not path.is_file():
        raise ArchonError(f"{path} is missing: expected it beside {WEIGHTS}, as training leaves it")
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected the settings of {what}, got something else") from error
