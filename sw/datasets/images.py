"""Sets of labelled images, and what is done to them before a network sees them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError

PIXEL_MEAN = 120.7076
"""Mean of all uint8 values of CIFAR-10's 50,000 training images."""
PIXEL_DEVIATION = 64.1501
"""Standard deviation of the same values. Both serve all data sets: the first BatchNorm makes up for the difference."""


@dataclass(frozen=True)
class ImageSet:
    """Images [N, H, W, channels] uint8 and labels [N] uint8, in the official order; colours are red, green, blue."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels [..., channels] uint8 to float32 with about zero mean and unit deviation over the training set."""
    return (images.astype(np.float32) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_DEVIATION)


def cropped(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The middle height x width pixels of images [N, H, W, channels].

    Raises:
        ArchonError: the images are smaller.
    """
    top, left = images.shape[1] - height, images.shape[2] - width
    if top < 0 or left < 0:
        raise ArchonError(f"expected images of at least {height} x {width} pixels, got {images.shape[1]} x {images.shape[2]}")
    return images[:, top // 2 : top // 2 + height, left // 2 : left // 2 + width]


def reduced(data: ImageSet, count: int | None, resolution: int | None) -> ImageSet:
    """The first `count` images, averaged down to `resolution` x `resolution` pixels; None leaves either as it is.

    Raises:
        ArchonError: fewer images than asked for, or a resolution that does not divide the images' own.
    """
    available, height, width, channels = data.images.shape
    if count is not None and not 0 < count <= available:
        raise ArchonError(f"expected 1 to {available} images, got {count}")
    images, labels = data.images[:count], data.labels[:count]
    if resolution is None:
        return ImageSet(images, labels)
    if resolution <= 0 or height % resolution or width % resolution:
        raise ArchonError(f"expected a resolution that divides {height} and {width}, got {resolution}")
    tiles = images.reshape(-1, resolution, height // resolution, resolution, width // resolution, channels)
    return ImageSet(np.rint(tiles.mean((2, 4))).astype(np.uint8), labels)


def fitted(data: ImageSet, height: int, width: int, channels: int) -> ImageSet:
    """Images of a network's size: of larger ones the middle, smaller ones in the middle of black, grey ones in all channels.

    Raises:
        ArchonError: images of another number of colours.
    """
    _, rows, columns, colours = data.images.shape
    if colours not in (1, channels):
        raise ArchonError(f"expected images of {channels} channels or one, got {colours}")
    images = cropped(data.images, min(rows, height), min(columns, width))
    above, left = max(0, height - rows), max(0, width - columns)
    if above or left:
        images = np.pad(images, ((0, 0), (above // 2, above - above // 2), (left // 2, left - left // 2), (0, 0)))
    return ImageSet(images if colours == channels else np.repeat(images, channels, axis=-1), data.labels)


def checked(data: ImageSet, shape: tuple[int, ...], classes: int, source: object) -> ImageSet:
    """The same, if it has this shape and no labels beyond its classes.

    Raises:
        ArchonError: it has not; names the source.
    """
    if data.images.shape != shape or data.labels.shape != shape[:1]:
        raise ArchonError(
            f"{source}: expected images of shape {shape} with as many labels, got {data.images.shape} and {data.labels.shape}"
        )
    if data.labels.max() >= classes:
        raise ArchonError(f"{source}: expected labels 0 to {classes - 1}, got {data.labels.max()}")
    return data
