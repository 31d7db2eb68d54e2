"""The data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.datasets import fashion_mnist, svhn
from sw.datasets.cifar import CIFAR10, CIFAR100
from sw.datasets.images import ImageSet


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        title: as people call it.
        classes: how many.
        images: of a split ("train" or "test").
        load: a split, from a folder if one is given.
        names: of the classes, in the order of their labels, where they are not called by number.
        mirrored: a mirrored image is one of the same class.
    """

    title: str
    classes: int
    images: Mapping[str, int]
    load: Callable[[str, Path | None], ImageSet]
    names: tuple[str, ...] = ()
    mirrored: bool = True

    def class_name(self, label: int) -> str:
        """What people call a class."""
        return self.names[label] if label < len(self.names) else str(label)


DATASETS = {
    "cifar10": Dataset(
        CIFAR10.title,
        CIFAR10.classes,
        CIFAR10.images,
        CIFAR10.load,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Dataset(CIFAR100.title, CIFAR100.classes, CIFAR100.images, CIFAR100.load),
    "fashion-mnist": Dataset(
        fashion_mnist.TITLE,
        fashion_mnist.CLASSES,
        fashion_mnist.IMAGES,
        fashion_mnist.load_fashion_mnist,
        ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "svhn": Dataset(svhn.TITLE, svhn.CLASSES, svhn.IMAGES, svhn.load_svhn, mirrored=False),
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
