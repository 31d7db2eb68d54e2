"""Image data sets and their normalisation."""

from sw.datasets.catalogue import DATASETS, Dataset, find_dataset, load_cifar10
from sw.datasets.excerpt import Excerpt, load_excerpt
from sw.datasets.images import PIXEL_DEVIATION, PIXEL_MEAN, ImageSet, cropped, fitted, normalise, reduced

__all__ = [
    "DATASETS",
    "PIXEL_DEVIATION",
    "PIXEL_MEAN",
    "Dataset",
    "Excerpt",
    "ImageSet",
    "cropped",
    "find_dataset",
    "fitted",
    "load_cifar10",
    "load_excerpt",
    "normalise",
    "reduced",
]
