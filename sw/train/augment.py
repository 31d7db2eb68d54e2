"""Shuffled, augmented batches, reproducible from (seed, epoch)."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sw.datasets import ImageSet, normalise

SHIFT = 4
"""Crops are shifted by up to this many pixels each way; what moves in is the mean colour (zero)."""

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


def training_batches(data: ImageSet, classes: int, batch: int, seed: int, epoch: int, mirrored: bool = True) -> Iterator[Batch]:
    """One epoch of (images [N, H, W, 3] float32 normalised, one-hot labels [N, classes]).

    Images are flipped left to right at random, if `mirrored`, and shifted by -4..4 pixels. A last batch that is not full is
    left out.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(data.labels))
    one_hot = np.eye(classes, dtype=np.float32)
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        yield augment(normalise(data.images[chosen]), random, mirrored), one_hot[data.labels[chosen]]


def ahead(batches: Iterator[Batch], count: int = 4) -> Iterator[Batch]:
    """The same batches in the same order, made by a thread of their own, up to `count` before they are asked for."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        waiting = deque(maker.submit(next, batches, None) for _ in range(count))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(maker.submit(next, batches, None))
            yield batch


def augment(images: NDArray[np.float32], random: np.random.Generator, mirrored: bool = True) -> NDArray[np.float32]:
    """Shift each of the images [N, H, W, 3] at random, and flip it, if `mirrored`."""
    count, height, width, _ = images.shape
    flip = np.asarray(random.random(count) < 0.5) & mirrored
    images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    offsets = random.integers(0, 2 * SHIFT + 1, (count, 2))
    rows = offsets[:, :1] + np.arange(height)
    columns = offsets[:, 1:] + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
