"""One training run: build the model of a stage, train it epoch by epoch, write checkpoint, log and weights."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays, save_arrays
from sw.datasets import ImageSet
from sw.networks.network import Network
from sw.run_folder import CHECKPOINT, CONFIG, KEPT_RUNS, LOG, WEIGHTS, read_log
from sw.spec import NetworkSpec, parse_spec
from sw.train import checkpoint
from sw.train.augment import ahead, training_batches
from sw.train.kernel import attach_kernel, choose_kernel
from sw.train.recipe import STAGES, Recipe
from sw.train.stage import Stage
from sw.train.stages import make_stage, stages_of
from sw.train.widen import widen

EVALUATION_BATCH = 250


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
        predictor: "forward" or "constraint", how the predictor's weights become ternary.
        kernel: one of KERNELS, what computes the blocks.
        dataset: what the images are; it is noted in the run folder.
        widen: start from this run folder of a narrower network instead of the stage before.
    """

    spec: NetworkSpec
    stage: str
    recipe: Recipe
    folder: Path
    seed: int = 0
    resume: bool = False
    stop_after: int | None = None
    max_minutes: float | None = None
    predictor: str = "forward"
    kernel: str = "auto"
    widen: Path | None = None
    dataset: str = "cifar10"


def train(run: Run, training: ImageSet, test: ImageSet) -> float | None:
    """Train a stage to its end and write its weights.

    Returns:
        Test accuracy, 0 to 1; None when the time ran out before the last epoch.

    Raises:
        ArchonError: the stage before is missing, a checkpoint does not fit, or there are too few images.
    """
    started = time.monotonic()
    if run.recipe.epochs and len(training.labels) < run.recipe.batch:
        raise ArchonError(f"expected at least a batch of {run.recipe.batch} training images, got {len(training.labels)}")
    keras.utils.set_random_seed(run.seed)
    stage = make_stage(run.stage, run.spec, run.recipe, training, run.predictor)
    model = stage.model
    kernel = choose_kernel(run.kernel)
    if kernel == "native":
        attach_kernel(model)
    compile_model(model, run.recipe)
    variables = stage.variables()
    first_epoch = 0
    if run.resume and (run.folder / CHECKPOINT).exists():
        first_epoch = checkpoint.restore_checkpoint(run.folder, variables, model.optimizer)
    elif run.widen is not None:
        stage.start_from(widened(run, run.widen), run.widen)
    elif run.stage != STAGES[0]:
        before = checkpoint_before(run)
        stage.start_from(load_arrays(before), before)
    if first_epoch == 0:
        for stale in (LOG, WEIGHTS):
            (run.folder / stale).unlink(missing_ok=True)
        checkpoint.save_checkpoint(run.folder, variables, model.optimizer, 0)
    config = _config(run) | {
        "kernel": kernel,
        "training_images": list(training.images.shape),
        "test_images": list(test.images.shape),
    }
    checkpoint.write_config(run.folder, config)
    accuracy = None
    rows: list[dict[str, Any]] = list(read_log(run.folder, first_epoch))
    for epoch in range(first_epoch, run.recipe.epochs):
        if _must_stop(run, epoch, time.monotonic() - started):
            return None
        began = time.monotonic()
        loss, rate = train_epoch(run, stage, training, epoch)
        accuracy = evaluate(stage.inference(), test)
        seconds = time.monotonic() - began
        rows.append({"epoch": epoch + 1, "rate": rate, "loss": loss, "test_accuracy": accuracy, "seconds": seconds})
        checkpoint.save_checkpoint(run.folder, variables, model.optimizer, epoch + 1)
        checkpoint.write_log(run.folder, rows)
    accuracy = evaluate(stage.inference(), test) if accuracy is None else accuracy
    save_arrays(run.folder / WEIGHTS, stage.weights())
    checkpoint.write_config(run.folder, config | {"test_accuracy": accuracy})
    return accuracy


def checkpoint_before(run: Run) -> Path:
    """The checkpoint of the stage before: the one beside the run, else the one that comes with the project.

    Raises:
        ArchonError: there is none.
    """
    stages = stages_of(run.spec)
    stage = stages[stages.index(run.stage) - 1]
    trained, kept = (folder / stage / CHECKPOINT for folder in (run.folder.parent, KEPT_RUNS / run.spec.name))
    if not trained.exists() and not kept.exists():
        raise ArchonError(f"stage {run.stage} starts from {trained}, which is missing: train that stage first")
    return trained if trained.exists() else kept


def widened(run: Run, folder: Path) -> dict[str, Any]:
    """Variables of a narrower network's run, grown to the run's network."""
    path = folder / CONFIG
    if not path.exists():
        raise ArchonError(f"{path} is missing: expected the run folder of a narrower network")
    narrow = parse_spec(json.loads(path.read_text(encoding="utf-8"))["network"])
    return widen(load_arrays(folder / CHECKPOINT), narrow, run.spec, run.seed)


def _must_stop(run: Run, epochs_done: int, seconds: float) -> bool:
    out_of_time = run.max_minutes is not None and seconds > 60 * run.max_minutes
    return out_of_time or (run.stop_after is not None and epochs_done >= run.stop_after)


def compile_model(model: Network, recipe: Recipe) -> None:
    """Attach loss and optimiser; BatchNorm and the dense bias are not decayed."""
    optimizer = keras.optimizers.SGD(recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.decay or None)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.smoothing)
    # XLA makes TensorFlow slower on CPUs; JAX without it runs operation by operation.
    model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(model.trainable_variables)


def train_epoch(run: Run, stage: Stage, data: ImageSet, epoch: int) -> tuple[float, float]:
    """One pass over the training set; returns mean loss and last learning rate."""
    recipe = run.recipe
    steps = len(data.labels) // recipe.batch
    losses = []
    rate = recipe.rate
    with _progress() as progress:
        task = progress.add_task(f"{run.stage} epoch {epoch + 1}/{recipe.epochs}", total=steps, loss="")
        batches = ahead(training_batches(data, run.spec.classes, recipe.batch, run.seed, epoch))
        for index, (images, labels) in enumerate(batches):
            step = epoch * steps + index
            rate = recipe.rate_at(step, recipe.epochs * steps)
            stage.model.optimizer.learning_rate = rate
            stage.before_step(step, recipe.epochs * steps)
            losses.append(_train_step(stage.model, images, labels))
            stage.after_step()
            progress.update(task, advance=1, loss=f"{np.mean(losses[-50:]):.3f}")
    stage.after_epoch()
    return float(np.mean(losses)), rate


def _train_step(model: Network, images: Any, labels: Any) -> float:
    model.reset_metrics()
    return float(np.asarray(model.train_on_batch(images, labels)))


def evaluate(infer: Callable[[NDArray[np.uint8]], NDArray[Any]], data: ImageSet) -> float:
    """Fraction of images whose largest logit is the label's."""
    correct = 0
    for start in range(0, len(data.labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        correct += int((infer(data.images[part]).argmax(1) == data.labels[part]).sum())
    return correct / len(data.labels)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn()
    )


def _config(run: Run) -> dict[str, Any]:
    return {
        "network": run.spec.model_dump(mode="json"),
        "stage": run.stage,
        "seed": run.seed,
        "dataset": run.dataset,
        "predictor": run.predictor,
        "widened_from": None if run.widen is None else "/".join(run.widen.absolute().parts[-3:]),  # NET/train/STAGE
        "recipe": asdict(run.recipe),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe with another number of epochs, if one is given."""
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def with_survivors(recipe: Recipe, first: float | None, second: float | None) -> Recipe:
    """The recipe with other limits on the shares of survivors, where they are given.

    Raises:
        ArchonError: not a share.
    """
    for share in (first, second):
        if share is not None and not 0 < share <= 1:
            raise ArchonError(f"share of survivors: expected more than 0 and at most 1, got {share}")
    return replace(
        recipe,
        survivors_first=recipe.survivors_first if first is None else first,
        survivors_second=recipe.survivors_second if second is None else second,
    )
