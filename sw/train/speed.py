"""How many images a second the input pipeline makes, and the training step takes."""

import itertools
import time
from dataclasses import dataclass

import numpy as np

from hw.contract.errors import ArchonError
from sw.datasets import ImageSet, fitted, load_excerpt
from sw.spec import NetworkSpec
from sw.train.augment import training_batches
from sw.train.kernel import attach_kernel, choose_kernel
from sw.train.recipe import Recipe
from sw.train.run import compile_model
from sw.train.stages import make_stage


@dataclass(frozen=True)
class Speed:
    """Images a second: what each could do alone."""

    pipeline: float
    step: float


def measure(spec: NetworkSpec, recipe: Recipe, kernel: str, steps: int) -> Speed:
    """Time the pipeline and the steps of stage vanilla, each for itself, on the excerpt's images.

    Args:
        spec: the network.
        recipe: of which the batch is taken.
        kernel: what computes the blocks, as in training.
        steps: how many are timed; one more, which compiles, comes before.

    Raises:
        ArchonError: no steps.
    """
    if steps < 1:
        raise ArchonError(f"steps: expected at least 1, got {steps}")
    excerpt = fitted(load_excerpt(), spec.height, spec.width, spec.channels)
    places = np.arange((steps + 1) * recipe.batch)
    data = ImageSet(excerpt.images[places % len(excerpt.labels)], (places % spec.classes).astype(np.uint8))
    began = time.perf_counter()
    batches = list(training_batches(data, spec.classes, recipe.batch, 0, 0))
    pipeline = len(places) / (time.perf_counter() - began)
    model = make_stage("vanilla", spec, recipe, data, "forward").model
    if choose_kernel(kernel) == "native":
        attach_kernel(model)
    compile_model(model, recipe)
    model.train_on_batch(*batches[0])
    began = time.perf_counter()
    for images, labels in itertools.islice(batches, 1, None):
        float(np.asarray(model.train_on_batch(images, labels)))
    return Speed(pipeline, steps * recipe.batch / (time.perf_counter() - began))
