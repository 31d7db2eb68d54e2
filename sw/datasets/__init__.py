"""Image data sets and their normalisation."""

from sw.datasets.cifar10 import CLASSES, PIXEL_DEVIATION, PIXEL_MEAN, ImageSet, cropped, load_cifar10, normalise, reduced
from sw.datasets.excerpt import Excerpt, load_excerpt

__all__ = [
    "CLASSES",
    "PIXEL_DEVIATION",
    "PIXEL_MEAN",
    "Excerpt",
    "ImageSet",
    "cropped",
    "load_cifar10",
    "load_excerpt",
    "normalise",
    "reduced",
]
