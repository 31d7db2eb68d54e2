"""CIFAR-10 and CIFAR-100: compact files, the official archives, those archives extracted, or a checked download.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.datasets.files import OfficialFile, data_folder, keras_folder
from sw.datasets.images import ImageSet, checked

SITE = "https://www.cs.toronto.edu/~kriz"
SIDE = 32

Opener = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes:
        title: as people call it.
        name: as its compact files begin.
        archive: the official one.
        folder: what it holds.
        batches: the files of a split in that folder, in order.
        images: of a split.
        labels: the labels' key in a batch.
        classes: how many.
    """

    title: str
    name: str
    archive: OfficialFile
    folder: str
    batches: Mapping[str, tuple[OfficialFile, ...]]
    images: Mapping[str, int]
    labels: bytes
    classes: int

    def load(self, split: str, folder: Path | None = None) -> ImageSet:
        """Images [N, 32, 32, 3] and labels of one split.

        Args:
            split: "train" (50,000 images) or "test" (10,000).
            folder: where the data lie; else the folder in ARCHON_DATA; else Keras' cache, or a download.

        Raises:
            ArchonError: unknown split, missing or damaged files, or no network for the download.
        """
        if split not in self.batches:
            raise ArchonError(f"unknown split {split!r}: expected train or test")
        folder = data_folder(folder)
        if folder is None:
            cached = keras_folder() / f"{self.folder}-target" / self.folder
            return self._from_folder(cached, split) if cached.is_dir() else self._from_archive(self._downloaded(), split)
        compact = folder / f"{self.name}_{split}.npz"
        if compact.exists():
            return self._from_compact(compact, split)
        if (folder / self.archive.name).exists():
            return self._from_archive(self.archive.check(folder / self.archive.name), split)
        if (folder / self.folder).is_dir():
            return self._from_folder(folder / self.folder, split)
        raise ArchonError(
            f"no {self.title} in {folder}: expected {compact.name}, {self.archive.name} or the folder {self.folder}"
        )

    def _downloaded(self) -> Path:
        return self.archive.download(self.title)

    def _from_compact(self, path: Path, split: str) -> ImageSet:
        arrays = load_arrays(path)
        if not {"x", "y"} <= arrays.keys():
            raise ArchonError(f"{path}: expected arrays x and y, got {', '.join(sorted(arrays))}")
        planes, labels = arrays["x"], arrays["y"]
        expected = (3, self.images[split], SIDE, SIDE)
        if planes.shape != expected or planes.dtype != np.uint8:
            raise ArchonError(f"{path}: expected x of shape {expected} uint8, got {planes.shape} {planes.dtype}")
        return self._checked(ImageSet(undo_filter(planes), labels.astype(np.uint8)), split, path)

    def _from_archive(self, path: Path, split: str) -> ImageSet:
        try:
            with tarfile.open(path) as archive:
                members = (partial(_member, archive, f"{self.folder}/{batch.name}") for batch in self.batches[split])
                return self._joined(members, split, path)
        except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
            raise ArchonError(f"{path} is damaged or not the {self.title} archive: {error}") from error

    def _from_folder(self, folder: Path, split: str) -> ImageSet:
        paths = (batch.check(folder / batch.name) for batch in self.batches[split])
        return self._joined((partial(_opened, path) for path in paths), split, folder)

    def _joined(self, openers: Iterable[Opener], split: str, source: Path) -> ImageSet:
        batches = []
        for batch, opener in zip(self.batches[split], openers, strict=True):
            with opener() as stream:
                batches.append(self._read_batch(stream, f"{source}: {batch.name}"))
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return self._checked(ImageSet(images, labels), split, source)

    def _read_batch(self, stream: BinaryIO, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        try:
            batch = _ArrayUnpickler(stream, encoding="bytes").load()
            planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, SIDE, SIDE)
            labels = np.asarray(batch[self.labels], np.uint8)
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError) as error:
            raise ArchonError(f"{name} is damaged or not a batch of {self.title}: {error}") from error
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels

    def _checked(self, data: ImageSet, split: str, source: Path) -> ImageSet:
        return checked(data, (self.images[split], SIDE, SIDE, 3), self.classes, source)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


@contextmanager
def _member(archive: tarfile.TarFile, name: str) -> Iterator[BinaryIO]:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(f"{name} is not a file")
    with member:
        yield member  # type: ignore[misc]


class _ArrayUnpickler(pickle.Unpickler):
    """Admits only what a batch holds, so that a foreign pickle cannot run code."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> object:
        """Return an array constructor, or refuse."""
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"unexpected object {module}.{name}")


def undo_filter(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compact form [3, N, H, W] (R-G, G, B-G; differences along y, then x; modulo 256) to NHWC RGB."""
    summed = np.cumsum(np.cumsum(planes, 2, dtype=np.uint8), 3, dtype=np.uint8)
    red, green, blue = summed[0] + summed[1], summed[1], summed[2] + summed[1]
    return np.stack([red, green, blue], -1)


CIFAR10 = Cifar(
    title="CIFAR-10",
    name="cifar10",
    archive=OfficialFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", f"{SITE}/cifar-10-python.tar.gz"),
    folder="cifar-10-batches-py",
    batches={
        "train": (
            OfficialFile("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            OfficialFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            OfficialFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            OfficialFile("data_batch_4", "634d18415352ddfa80567beed471001a"),
            OfficialFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ),
        "test": (OfficialFile("test_batch", "40351d587109b95175f43aff81a1287e"),),
    },
    images={"train": 50_000, "test": 10_000},
    labels=b"labels",
    classes=10,
)
CIFAR100 = Cifar(
    title="CIFAR-100",
    name="cifar100",
    archive=OfficialFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", f"{SITE}/cifar-100-python.tar.gz"),
    folder="cifar-100-python",
    batches={
        "train": (OfficialFile("train", "16019d7e3df5f24257cddd939b257f8d"),),
        "test": (OfficialFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    },
    images={"train": 50_000, "test": 10_000},
    labels=b"fine_labels",
    classes=100,
)
