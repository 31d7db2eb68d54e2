"""The data sets by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.datasets.cifar import CIFAR10, CIFAR100
from sw.datasets.fashion_mnist import CLASSES as GARMENTS
from sw.datasets.fashion_mnist import load_fashion_mnist
from sw.datasets.images import ImageSet
from sw.datasets.svhn import CLASSES as DIGITS
from sw.datasets.svhn import load_svhn


@dataclass(frozen=True)
class Dataset:
    """A data set: its classes, and how a split ("train" or "test") is loaded, from a folder if one is given."""

    classes: int
    load: Callable[[str, Path | None], ImageSet]
    names: tuple[str, ...] = ()
    """Of the classes, in the order of their labels, where they are not called by number."""

    def class_name(self, label: int) -> str:
        """What people call a class."""
        return self.names[label] if label < len(self.names) else str(label)


DATASETS = {
    "cifar10": Dataset(
        CIFAR10.classes,
        CIFAR10.load,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Dataset(CIFAR100.classes, CIFAR100.load),
    "fashion-mnist": Dataset(
        GARMENTS,
        load_fashion_mnist,
        ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "svhn": Dataset(DIGITS, load_svhn),
}


def find_dataset(name: str) -> Dataset:
    """The data set of a name.

    Raises:
        ArchonError: there is none.
    """
    if name not in DATASETS:
        raise ArchonError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    return DATASETS[name]


def load_cifar10(split: str, folder: Path | None = None) -> ImageSet:
    """One split of CIFAR-10, as CIFAR10.load."""
    return CIFAR10.load(split, folder)
