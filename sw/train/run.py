"""One training run: build the model of a stage, train it epoch by epoch, write checkpoint, log and weights."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sw.arrays import load_arrays, save_arrays
from sw.curves import PICTURE, write_picture
from sw.datasets import ImageSet, find_dataset
from sw.networks.network import Network
from sw.run_folder import ACCURACY, CHECKPOINT, LOG, WEIGHTS, finished_accuracy, locked, read_log
from sw.train import checkpoint
from sw.train.augment import ahead, training_batches
from sw.train.begun import way_of
from sw.train.devices import choose_devices, sharing
from sw.train.kernel import attach_kernel, choose_kernel
from sw.train.measures import measures
from sw.train.recipe import Recipe
from sw.train.settings import START, Run, check_images, digest, narrow_spec, resumes, shapes, start_of
from sw.train.stage import Stage
from sw.train.stages import make_stage
from sw.train.widen import widen

EVALUATION_BATCH = 250
Infer = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Images [N, H, W, 3] to logits [N, classes]."""


def train(run: Run, training: ImageSet, test: ImageSet) -> float | None:
    """Train a stage to its end and write its weights.

    Returns:
        Test accuracy, 0 to 1; None when the time ran out before the last epoch.

    Raises:
        ArchonError: the stage before is missing, a checkpoint does not fit, there are too few images, devices cannot be had,
            another process trains in this folder, the folder holds another run, or one that nobody said to delete, or the
            network was not pruned as it was to be.
    """
    started = time.monotonic()
    images = shapes(training, test)
    check_images(run, training)
    resumed = resumes(run)
    start = None if resumed else start_of(run)
    devices = choose_devices(run.devices, run.recipe.batch)
    with locked(run.folder), sharing(devices):
        way = way_of(run, images)
        if way.how == "finished":
            return finished_accuracy(run.folder)
        keras.utils.set_random_seed(run.seed)
        stage = make_stage(run.stage, run.spec, run.recipe, training, run.predictor)
        kernel = choose_kernel(run.kernel)
        if kernel == "native":
            attach_kernel(stage.model)
        compile_model(stage.model, run.recipe)
        about = {"kernel": kernel, "devices": devices, "backend": keras.backend.backend(), "keras": keras.__version__}
        config = run.settings() | images | about | {START: digest(start)} | way.noted
        first_epoch = begin(run, stage, start, config, resumed=resumed)
        accuracy = train_epochs(run, stage, training, test, first_epoch, started)
        if accuracy is None:
            return None
        stage.check_trained()
        save_arrays(run.folder / WEIGHTS, stage.weights())
        checkpoint.write_config(run.folder, config | {ACCURACY: accuracy})
    return accuracy


def begin(run: Run, stage: Stage, start: Path | None, config: dict[str, Any], *, resumed: bool) -> int:
    """Set the variables of a stage to what it continues or starts from, and note its settings; the epochs that are done."""
    if resumed:
        first_epoch = checkpoint.restore_checkpoint(run.folder, stage.variables(), stage.model.optimizer)
        checkpoint.write_config(run.folder, config)
        return first_epoch
    if start is not None:
        arrays = load_arrays(start)
        if run.widen is not None:
            arrays = widen(arrays, narrow_spec(run.widen), run.spec, run.seed)
        stage.start_from(arrays, start)
    # No checkpoint is there without the settings that it belongs to, whenever this is cut off.
    for stale in (CHECKPOINT, WEIGHTS, LOG, PICTURE):
        (run.folder / stale).unlink(missing_ok=True)
    checkpoint.write_config(run.folder, config)
    checkpoint.save_checkpoint(run.folder, stage.variables(), stage.model.optimizer, 0)
    return 0


def train_epochs(run: Run, stage: Stage, training: ImageSet, test: ImageSet, first_epoch: int, started: float) -> float | None:
    """Train the epochs that are left, with a checkpoint and a row of the log after each; accuracy as `train` gives it."""
    accuracy = None
    rows: list[dict[str, Any]] = list(read_log(run.folder, first_epoch))
    for epoch in range(first_epoch, run.recipe.epochs):
        if _must_stop(run, epoch, time.monotonic() - started):
            return None
        began = time.monotonic()
        loss, rate = train_epoch(run, stage, training, epoch)
        due = (epoch + 1) % run.evaluate_every == 0 or epoch + 1 == run.recipe.epochs
        accuracy = evaluate(stage.inference(), test) if due else None
        seconds = time.monotonic() - began
        row = {
            "epoch": epoch + 1,
            "rate": rate,
            "loss": loss,
            ACCURACY: "" if accuracy is None else accuracy,
            "seconds": seconds,
        }
        rows.append(row | measures(stage.model, training.images))
        # The log first: a row too many is dropped when the run resumes, one that is missing would be missed for good.
        checkpoint.write_log(run.folder, rows)
        checkpoint.save_checkpoint(run.folder, stage.variables(), stage.model.optimizer, epoch + 1)
        write_picture(run.folder, f"{run.spec.name}, {run.stage}")
    if not run.recipe.epochs:
        return _log_untrained(run, stage, training, test)
    return evaluate(stage.inference(), test) if accuracy is None else accuracy


def _log_untrained(run: Run, stage: Stage, training: ImageSet, test: ImageSet) -> float:
    """Write the log of a run without epochs, a row of epoch 0 with what is measured; the accuracy."""
    began = time.monotonic()
    accuracy = evaluate(stage.inference(), test)
    row = {"epoch": 0, ACCURACY: accuracy, "seconds": time.monotonic() - began}
    checkpoint.write_log(run.folder, [row | measures(stage.model, training.images)])
    return accuracy


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
        mirrored = find_dataset(run.dataset).mirrored
        batches = ahead(training_batches(data, run.spec.classes, recipe.batch, run.seed, epoch, mirrored))
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


def evaluate(infer: Infer, data: ImageSet) -> float:
    """Fraction of images whose largest logit is the label's."""
    return int(np.concatenate(list(recognised(infer, data))).sum()) / len(data.labels)


def recognised(infer: Infer, data: ImageSet) -> Iterator[NDArray[np.bool_]]:
    """For some images after the other, whether their largest logit is the label's."""
    for start in range(0, len(data.labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        yield infer(data.images[part]).argmax(1) == data.labels[part]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn()
    )
