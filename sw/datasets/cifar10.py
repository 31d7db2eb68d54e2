"""CIFAR-10: local compact files, the official archive, or a checked download of it."""

import hashlib
import os
import pickle
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
EXTRACTED = "cifar-10-batches-py"
DATA_VARIABLE = "ARCHON_DATA"
BATCHES = {"train": [f"data_batch_{index}" for index in range(1, 6)], "test": ["test_batch"]}
IMAGES = {"train": 50_000, "test": 10_000}
CLASSES = 10
PIXEL_MEAN = 120.7076
"""Mean of all uint8 values of the 50,000 training images."""
PIXEL_DEVIATION = 64.1501
"""Standard deviation of the same values."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ImageSet:
    """Images [N, 32, 32, 3] uint8 (RGB) and labels [N] uint8, in the official order."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load_cifar10(split: str, folder: Path | None = None) -> ImageSet:
    """Load one split of CIFAR-10.

    Args:
        split: "train" (50,000 images) or "test" (10,000).
        folder: where the data lies; else the folder in ARCHON_DATA; else a download cache.

    Raises:
        ArchonError: unknown split, missing or damaged files, or no network for the download.
    """
    if split not in BATCHES:
        raise ArchonError(f"unknown split {split!r}: expected train or test")
    if folder is None and os.environ.get(DATA_VARIABLE):
        folder = Path(os.environ[DATA_VARIABLE])
    if folder is None:
        return _from_archive(_download(), split)
    compact = folder / f"cifar10_{split}.npz"
    if compact.exists():
        return _from_compact(compact, split)
    if (folder / ARCHIVE).exists():
        _check_archive(folder / ARCHIVE)
        return _from_archive(folder / ARCHIVE, split)
    if (folder / EXTRACTED).is_dir():
        return _from_folder(folder / EXTRACTED, split)
    raise ArchonError(f"no CIFAR-10 in {folder}: expected {compact.name}, {ARCHIVE} or the folder {EXTRACTED}")


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels [..., 3] uint8 to float32 with zero mean and unit deviation over the training set."""
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


def undo_filter(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compact form [3, N, H, W] (R-G, G, B-G; differences along y, then x; modulo 256) to NHWC RGB."""
    summed = np.cumsum(np.cumsum(planes, 2, dtype=np.uint8), 3, dtype=np.uint8)
    red, green, blue = summed[0] + summed[1], summed[1], summed[2] + summed[1]
    return np.stack([red, green, blue], -1)


def _from_compact(path: Path, split: str) -> ImageSet:
    arrays = load_arrays(path)
    if not {"x", "y"} <= arrays.keys():
        raise ArchonError(f"{path}: expected arrays x and y, got {', '.join(sorted(arrays))}")
    planes, labels = arrays["x"], arrays["y"]
    expected = (3, IMAGES[split], 32, 32)
    if planes.shape != expected or planes.dtype != np.uint8:
        raise ArchonError(f"{path}: expected x of shape {expected} uint8, got {planes.shape} {planes.dtype}")
    return _checked(ImageSet(undo_filter(planes), labels.astype(np.uint8)), split, path)


def _checked(images: ImageSet, split: str, path: Path) -> ImageSet:
    expected = (IMAGES[split], 32, 32, 3)
    if images.images.shape != expected or images.labels.shape != expected[:1]:
        raise ArchonError(
            f"{path}: expected {split} images of shape {expected} with as many labels, "
            f"got {images.images.shape} and {images.labels.shape}"
        )
    if images.labels.max() >= CLASSES:
        raise ArchonError(f"{path}: expected labels 0 to {CLASSES - 1}, got {images.labels.max()}")
    return images


def _from_archive(path: Path, split: str) -> ImageSet:
    def open_batches(archive: tarfile.TarFile) -> Iterator[BinaryIO]:
        for name in BATCHES[split]:
            member = archive.extractfile(f"{EXTRACTED}/{name}")
            if member is None:
                raise ArchonError(f"{path}: {EXTRACTED}/{name} is not a file")
            yield member  # type: ignore[misc]

    try:
        with tarfile.open(path) as archive:
            batches = [_read_batch(stream, path) for stream in open_batches(archive)]
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise ArchonError(f"{path} is damaged or not the CIFAR-10 archive: {error}") from error
    return _checked(_joined(batches), split, path)


def _from_folder(folder: Path, split: str) -> ImageSet:
    batches = []
    for name in BATCHES[split]:
        path = folder / name
        try:
            with path.open("rb") as stream:
                batches.append(_read_batch(stream, path))
        except OSError as error:
            raise ArchonError(f"CIFAR-10 file {path} cannot be read: {error}") from error
    return _checked(_joined(batches), split, folder)


def _joined(batches: list[ImageSet]) -> ImageSet:
    return ImageSet(np.concatenate([batch.images for batch in batches]), np.concatenate([batch.labels for batch in batches]))


class _ArrayUnpickler(pickle.Unpickler):
    """Admits only what a CIFAR-10 batch holds, so that a foreign pickle cannot run code."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> object:
        """Return an array constructor, or refuse."""
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"unexpected object {module}.{name}")


def _read_batch(stream: BinaryIO, path: Path) -> ImageSet:
    try:
        batch = _ArrayUnpickler(stream, encoding="bytes").load()
        planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], np.uint8)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ArchonError(f"{path} is damaged or not a CIFAR-10 batch: {error}") from error
    return ImageSet(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)


def _check_archive(path: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != ARCHIVE_MD5:
        raise ArchonError(f"{path} is damaged or incomplete: expected md5 {ARCHIVE_MD5}, got {digest.hexdigest()}; delete it")


def _download() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "archon"
    path = cache / ARCHIVE
    if path.exists():
        _check_archive(path)
        return path
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        _fetch(partial)
        _check_archive(partial)
        partial.replace(path)
    except (urllib.error.URLError, OSError) as error:
        raise ArchonError(
            f"CIFAR-10 could not be downloaded ({error}): fetch {URL} where there is a network, "
            f"put it in a folder and set {DATA_VARIABLE} to that folder"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch(target: Path) -> None:
    columns = ("CIFAR-10", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with urllib.request.urlopen(URL, timeout=30) as source, target.open("wb") as sink, Progress(*columns) as progress:
        task = progress.add_task("download", total=int(source.headers.get("Content-Length", 0)) or None)
        while chunk := source.read(_CHUNK):
            sink.write(chunk)
            progress.advance(task, len(chunk))
