"""A hundred CIFAR-10 test images that come with the package, for tests and demonstrations without the data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sw.arrays import load_arrays
from sw.datasets.cifar import undo_filter
from sw.datasets.images import ImageSet

EXCERPT = Path(__file__).with_name("excerpt.npz")


@dataclass(frozen=True)
class Excerpt(ImageSet):
    """Images [100, 32, 32, 3] uint8, labels [100] uint8 and their positions [100] int32 in the test set."""

    indices: NDArray[np.int32]


def load_excerpt(path: Path = EXCERPT) -> Excerpt:
    """Load the excerpt.

    Raises:
        ArchonError: the file is missing or damaged.
    """
    arrays = load_arrays(path)
    return Excerpt(undo_filter(arrays["x"]), arrays["y"], arrays["indices"])
