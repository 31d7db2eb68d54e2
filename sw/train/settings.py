"""What a training run is made of, what its folder says of that, and what can be checked before it begins; without Keras."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hw.contract.errors import ArchonError
from sw.arrays import file_digest
from sw.datasets import ImageSet
from sw.run_folder import CHECKPOINT, CONFIG, finished_accuracy, first_having, read_config, read_settings, stage_places
from sw.spec import NetworkSpec, parse_spec
from sw.train.recipe import STAGES, Recipe, stages_of
from sw.train.starts import check_ended, check_start, check_start_stage
from sw.train.widen import widening

START = "start_digest"
"""In CONFIG: the digest of the checkpoint that the run started from."""
IMAGES = "training_images"
"""In CONFIG: shape of the images to train on."""
DEFAULTS: dict[str, Any] = {"dataset": "cifar10", "predictor": "forward", "widened_from": None, "started_from": None}
"""What a CONFIG that does not say it stands for."""


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
        anew: delete the run that this folder holds.
        prolong: a run that is resumed may have been begun with another number of epochs.
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
    anew: bool = False
    prolong: bool = False
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
    return {IMAGES: list(training.images.shape), "test_images": list(test.images.shape)}


def check_images(run: Run, training: ImageSet) -> None:
    """Raise ArchonError unless there is a batch of images, if any epoch is to be trained."""
    if run.recipe.epochs and len(training.labels) < run.recipe.batch:
        raise ArchonError(f"expected at least a batch of {run.recipe.batch} training images, got {len(training.labels)}")


def resumes(run: Run) -> bool:
    """Whether a run goes on from a checkpoint in its folder."""
    return run.resume and (run.folder / CHECKPOINT).exists()


def start_of(run: Run) -> Path | None:
    """The checkpoint that a run starts from; None: from random weights.

    Raises:
        ArchonError: as `start_place`, or it is of a run that was cut off.
    """
    start = start_place(run)
    if start is not None:
        check_ended(start.parent)
    return start


def start_place(run: Run) -> Path | None:
    """The same, of a run that may still be going on.

    Raises:
        ArchonError: it is missing, of another network, or one that this one cannot be grown from, or of a stage that this one
            cannot start from; or two are asked for, or the run itself.
    """
    for folder in (run.start, run.widen):
        if folder is not None and folder.resolve() == run.folder.resolve():
            raise ArchonError(f"{folder}: expected another run to start from, got the folder of the run itself")
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
    """The checkpoint of the stage before: the one beside the run, else, of seed 0, the one that comes with the project.

    Raises:
        ArchonError: there is none, or it is of another network or stage.
    """
    places = stage_places(run.folder.parent, run.spec.name, stage_before(run), run.seed)
    found = first_having(places, CHECKPOINT)
    if found is None:
        raise ArchonError(f"stage {run.stage} starts from {places[0] / CHECKPOINT}, which is missing: train that stage first")
    check_start(run.spec, run.stage, found)
    return found / CHECKPOINT


def stage_before(run: Run) -> str:
    """The stage that a run, not of the first stage, starts from."""
    stages = stages_of(run.spec)
    return stages[stages.index(run.stage) - 1]


def narrow_spec(folder: Path) -> NetworkSpec:
    """The network of a run folder, to be grown.

    Raises:
        ArchonError: it is not a run folder, or does not say its network.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ArchonError(f"{path} is missing: expected the run folder of a narrower network")
    network = read_settings(folder).network
    if network is None:
        raise ArchonError(f"{path}: expected the settings of a narrower network's run, got some that do not say the network")
    return parse_spec(network)


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
    if config is None or not (run.folder / CHECKPOINT).exists():
        return "waiting"
    try:
        if differences(run, config):
            return "waiting"
    except ArchonError:
        return "waiting"
    if images is not None and any(config.get(name) != shape for name, shape in images.items()):
        return "waiting"
    if start is not None and config.get(START) not in (None, digest(start)):
        return "waiting"
    return "interrupted" if finished_accuracy(run.folder) is None else "finished"


def differences(run: Run, config: dict[str, Any], images: dict[str, list[int]] | None = None) -> dict[str, tuple[Any, Any]]:
    """Settings that decide on the weights and are not those of a run.

    Args:
        run: what is asked for.
        config: what its folder notes; what an older folder does not say is as it was by default.
        images: as `shapes` gives them, of which those to train on are compared; None: whatever they are.

    Returns:
        By name: what the folder says, and what is asked for.

    Raises:
        ArchonError: the folder's settings are not those of a run, or of another version.
    """
    try:
        own = {
            "network": parse_spec(config["network"]).model_dump(mode="json"),
            "recipe": asdict(noted_recipe(run.folder, config)),
        }
    except (ArchonError, KeyError, TypeError) as error:
        raise _not_understood(run.folder) from error
    wanted = run.settings()
    found = {name: (DEFAULTS | config | own).get(name) for name in wanted}
    if images is not None and IMAGES in config:
        found[IMAGES], wanted[IMAGES] = config[IMAGES], images[IMAGES]
    was, asked = _named(found), _named(wanted)
    names = [*asked, *(name for name in was if name not in asked)]
    return {name: (was.get(name), asked.get(name)) for name in names if was.get(name) != asked.get(name)}


def noted_recipe(folder: Path, config: dict[str, Any]) -> Recipe:
    """The recipe that a run folder notes; what an older one does not say is as it was by default.

    Raises:
        ArchonError: the folder's settings are not those of a run, or of another version.
    """
    try:
        return Recipe(**config["recipe"])
    except (KeyError, TypeError) as error:
        raise _not_understood(folder) from error


def _not_understood(folder: Path) -> ArchonError:
    return ArchonError(f"{folder / CONFIG}: expected what this version notes of a run, got something else")


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by the names that options have, as far as there are options for them."""
    rest = {name: value for name, value in settings.items() if name not in {"network", "recipe", IMAGES}}
    recipe = {name: value for name, value in settings["recipe"].items() if name not in rest}  # the predictor: the run's counts
    named = rest | recipe | _flat(settings["network"], "network")
    if IMAGES in settings:
        count, height, width, _ = settings[IMAGES]
        named |= {"images": count, "resolution": f"{height}x{width}"}
    return named


def _flat(value: Any, name: str) -> dict[str, Any]:
    """The values within a value, by their paths."""
    if not isinstance(value, dict | list):
        return {name: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, part in parts for path, leaf in _flat(part, f"{name}.{key}").items()}
