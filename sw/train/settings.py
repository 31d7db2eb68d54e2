"""What a training run is made of, what its folder says of that, and what can be checked before it begins; without Keras."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hw.contract.errors import ArchonError
from sw.arrays import file_digest
from sw.datasets import ImageSet
from sw.run_folder import CHECKPOINT, CONFIG, finished_accuracy, read_config, stage_places
from sw.spec import NetworkSpec, parse_spec
from sw.train.recipe import STAGES, Recipe, stages_of
from sw.train.starts import check_start, check_start_stage
from sw.train.widen import widening

START = "start_digest"
"""In CONFIG: the digest of the checkpoint that the run started from."""


@dataclass(frozen=True)
class Run:
    """What to train and where to write.

    Attributes:
        spec: the network.
        stage: one of STAGES.
        recipe: epochs and optimiser settings.
        folder: run folder of this stage; the stage before lies beside it.
        seed: of weights, shuffling and augmentation.
        resume: continue from this folder's checkpoint if there is one.
        stop_after: stop after this epoch (resume continues); None: at the end.
        max_minutes: stop after the epoch in which this time runs out (resume continues); None: no limit.
        evaluate_every: the test accuracy is found after the last epoch and, before, after every so many.
        predictor: "forward" or "constraint", how the predictor's weights become ternary.
        kernel: one of KERNELS, what computes the blocks.
        dataset: what the images are; it is noted in the run folder.
        start: start from this run folder of the same network instead of the stage before.
        widen: start from this run folder of a narrower network instead of the stage before.
        devices: that share every batch; None: all GPUs, where the backend can (sw.train.devices).
    """

    spec: NetworkSpec
    stage: str
    recipe: Recipe
    folder: Path
    seed: int = 0
    resume: bool = False
    stop_after: int | None = None
    max_minutes: float | None = None
    evaluate_every: int = 1
    predictor: str = "forward"
    kernel: str = "auto"
    widen: Path | None = None
    start: Path | None = None
    dataset: str = "cifar10"
    devices: int | None = None

    def settings(self) -> dict[str, Any]:
        """What decides on the weights that come out, beside images and start, as CONFIG has it."""
        return {
            "network": self.spec.model_dump(mode="json"),
            "stage": self.stage,
            "seed": self.seed,
            "dataset": self.dataset,
            "predictor": self.predictor,
            "widened_from": _place(self.widen),
            "started_from": _place(self.start),
            "recipe": asdict(self.recipe),
        }


def _place(folder: Path | None) -> str | None:
    """A run folder without where it lies: NET/train/STAGE."""
    return None if folder is None else "/".join(folder.absolute().parts[-3:])


def shapes(training: ImageSet, test: ImageSet) -> dict[str, list[int]]:
    """The images of a run, as CONFIG has them."""
    return {"training_images": list(training.images.shape), "test_images": list(test.images.shape)}


def check_images(run: Run, training: ImageSet) -> None:
    """Raise ArchonError unless there is a batch of images, if any epoch is to be trained."""
    if run.recipe.epochs and len(training.labels) < run.recipe.batch:
        raise ArchonError(f"expected at least a batch of {run.recipe.batch} training images, got {len(training.labels)}")


def start_of(run: Run) -> Path | None:
    """The checkpoint that a run starts from; None: from random weights.

    Raises:
        ArchonError: it is missing, of another network, or one that this one cannot be grown from, or of a stage that this one
            cannot start from; or two are asked for.
    """
    if run.start is not None:
        if run.widen is not None:
            raise ArchonError(f"expected start or widen, got both: {run.start} and {run.widen}")
        if not (run.start / CHECKPOINT).exists():
            raise ArchonError(f"{run.start / CHECKPOINT} is missing: expected a run folder to start from")
        check_start(run.spec, run.stage, run.start)
        return run.start / CHECKPOINT
    if run.widen is not None:
        widening(narrow_spec(run.widen), run.spec)
        check_start_stage(run.spec, run.stage, run.widen)
        return run.widen / CHECKPOINT
    return None if run.stage == STAGES[0] else checkpoint_before(run)


def checkpoint_before(run: Run) -> Path:
    """The checkpoint of the stage before: the one beside the run, else the one that comes with the project.

    Raises:
        ArchonError: there is none, or it is of another network or stage.
    """
    stage = stage_before(run)
    trained, kept = (folder / CHECKPOINT for folder in stage_places(run.folder.parent, run.spec.name, stage))
    if not trained.exists() and not kept.exists():
        raise ArchonError(f"stage {run.stage} starts from {trained}, which is missing: train that stage first")
    found = trained if trained.exists() else kept
    check_start(run.spec, run.stage, found.parent)
    return found


def stage_before(run: Run) -> str:
    """The stage that a run, not of the first stage, starts from."""
    stages = stages_of(run.spec)
    return stages[stages.index(run.stage) - 1]


def narrow_spec(folder: Path) -> NetworkSpec:
    """The network of a run folder, to be grown.

    Raises:
        ArchonError: it is not a run folder.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ArchonError(f"{path} is missing: expected the run folder of a narrower network")
    return parse_spec(json.loads(path.read_text(encoding="utf-8"))["network"])


def digest(path: Path | None) -> str | None:
    """Of a checkpoint; None of none, or of one that is not there."""
    return None if path is None or not path.exists() else file_digest(path)


def progress_of(run: Run, images: dict[str, list[int]] | None = None, start: Path | None = None) -> str:
    """How far this very run has come in its folder.

    Args:
        run: its settings must be those that the folder notes.
        images: as `shapes` gives them; None: whatever they are.
        start: the checkpoint that it starts from, where the folder notes one; None: whatever it is.

    Returns:
        "finished", "interrupted" (there is something to resume), or "waiting": not begun, or begun as another run.
    """
    config = read_config(run.folder)
    if config is None or not (run.folder / CHECKPOINT).exists() or not _same(run, config):
        return "waiting"
    if images is not None and any(config.get(name) != shape for name, shape in images.items()):
        return "waiting"
    if start is not None and config.get(START) not in (None, digest(start)):
        return "waiting"
    return "interrupted" if finished_accuracy(run.folder) is None else "finished"


def _same(run: Run, config: dict[str, Any]) -> bool:
    """Whether a folder's settings are those of a run; what an older folder does not say is as it was by default."""
    try:
        own = {"network": parse_spec(config["network"]), "recipe": Recipe(**config["recipe"])}
    except (ArchonError, KeyError, TypeError):
        return False
    found = {"dataset": "cifar10", "widened_from": None, "started_from": None} | config | own
    wanted = run.settings() | {"network": run.spec, "recipe": run.recipe}
    return all(found.get(name) == value for name, value in wanted.items())
