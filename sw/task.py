"""A network and the data set that it is for: the description with as many classes, the images in its size, and its bundle."""

from pathlib import Path

from hw.contract.errors import ArchonError
from sw.bundle import find_bundle, known_bundles
from sw.datasets import ImageSet, find_dataset, fitted
from sw.spec import NetworkSpec, known_specs, load_spec

NAMED_BY_CLASSES = ("cifar10", "cifar100")
"""Data sets for which a network is called as it is, or by its number of classes; for others by the data set."""


def network_for(network: str | Path, dataset: str) -> NetworkSpec:
    """The description of a network with a data set's number of classes, under a name of its own: NAME, NAME-100, NAME-svhn.

    Args:
        network: a known name, or the path of a TOML file.
        dataset: a name out of sw.datasets.DATASETS.

    Raises:
        ArchonError: unknown network or data set, or a description that fails validation.
    """
    spec = load_spec(network, find_dataset(dataset).classes)
    if dataset in NAMED_BY_CLASSES:
        return spec
    return spec.model_copy(update={"name": f"{spec.name}-{dataset}"})


def images_for(spec: NetworkSpec, dataset: str, split: str) -> ImageSet:
    """A split, "train" or "test", in the size that the network reads.

    Raises:
        ArchonError: unknown, missing or damaged data.
    """
    return fitted(find_dataset(dataset).load(split, None), spec.height, spec.width, spec.channels)


def bundle_for(network: str, dataset: str | None, build: Path) -> Path:
    """The file of a network's bundle: at a path, exported to BUILD, or the one that comes with the project.

    Args:
        network: a bundle's path, or a network's name.
        dataset: what it is for; CIFAR-10 where it is not said.
        build: folder of all artefacts.

    Raises:
        ArchonError: unknown network or data set, or no bundle of it.
    """
    if network not in known_specs():
        return find_bundle(network)
    name = network_for(network, dataset or "cifar10").name
    exported = build / name / f"{name}.archon"
    if exported.exists():
        return exported
    if name not in known_bundles():
        raise ArchonError(
            f"{exported} is missing: expected it, or a bundle that comes with the project, of {name}; archon export makes one"
        )
    return find_bundle(name)
