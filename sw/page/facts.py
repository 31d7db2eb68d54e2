"""Everything that a network's page says, in numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.bundle import load_bundle
from sw.bundle.network import IntegerNetwork
from sw.datasets import ImageSet, find_dataset, fitted, load_excerpt, reduced
from sw.datasets.files import data_folder
from sw.golden import ErrorWeight, MaskStatistics, NetworkRun, fixed_multiplications, layer_costs, run
from sw.page.stages import Integers, Stage, read_integers, read_stages
from sw.spec import NetworkSpec
from sw.task import images_for

Relu = Literal["first", "second", "second, exact first"]
"""Which of a block's ReLUs; the second one's true sign is that behind the first one as predicted, or as it should be."""


@dataclass(frozen=True)
class SparsityRow:
    """The weights of one matrix of a layer."""

    layer: str
    part: str
    """expand, depthwise, project, predictor expand ... of what is fused; weights of other layers."""
    weights: int
    zeros: int

    @property
    def share(self) -> float:
        """Of zeros."""
        return self.zeros / self.weights


@dataclass(frozen=True)
class ConfusionRow:
    """Decisions of a predicted ReLU against the true signs, over all images."""

    layer: str
    relu: Relu
    statistics: MaskStatistics


@dataclass(frozen=True)
class WeightRow:
    """What wrong decisions of a predicted ReLU weigh in its block's output (sw.golden.inspection), over all images."""

    layer: str
    relu: Relu
    weight: ErrorWeight


@dataclass(frozen=True)
class MultiplicationRow:
    """A layer's multiplications for one image."""

    layer: str
    dense: int
    pruned: int
    executed: float
    """Mean over the images."""


@dataclass(frozen=True)
class Picture:
    """A test image, what the network says of it, and where its activations survive."""

    index: int
    """In the test set."""
    pixels: NDArray[np.uint8]
    """(height, width, channels)."""
    label: str | None
    """None where the data set is another one than the network's."""
    prediction: str
    maps: dict[str, tuple[NDArray[np.float64], ...]]
    """Fused layer's name to the share of channels that survive at each pixel (height, width), of each predicted ReLU."""


@dataclass(frozen=True)
class Facts:
    """Of one network."""

    network: IntegerNetwork
    bundle: Path
    dataset: str
    source: str
    """Where the images come from."""
    stages: tuple[Stage, ...]
    integers: Integers | None
    pictures: tuple[Picture, ...]
    sparsity: tuple[SparsityRow, ...]
    confusion: tuple[ConfusionRow, ...]
    weights: tuple[WeightRow, ...]
    multiplications: tuple[MultiplicationRow, ...]

    def as_json(self) -> dict[str, object]:
        """The numbers as JSON knows them; no pixels."""
        rows = {
            name: [_flat(row) for row in getattr(self, name)]
            for name in ("sparsity", "confusion", "weights", "multiplications")
        }
        return {
            "network": self.network.spec.name,
            "bundle": self.bundle.name,
            "provenance": self.network.provenance,
            "dataset": self.dataset,
            "images": [
                {"index": picture.index, "label": picture.label, "prediction": picture.prediction} for picture in self.pictures
            ],
            "stages": {stage.name: stage.accuracy for stage in self.stages},
            "integers": None if self.integers is None else self.integers.accuracy,
            **rows,
        }


def read_facts(
    bundle: Path, dataset: str | None, count: int, build: Path, on_layer: Callable[[str, int], None] | None = None
) -> Facts:
    """Run some test images through a bundle's network, and read what training left.

    Args:
        bundle: the file.
        dataset: of the images; None: what the bundle says, else CIFAR-10.
        count: how many images, from the first one on.
        build: folder of all artefacts.
        on_layer: called with a layer's name and the number of all calls, when an image has run through it.

    Raises:
        ArchonError: a damaged bundle, unknown or missing data, a data set of other classes than the network's, fewer images
            than asked for, or run folders that training does not write.
    """
    network = load_bundle(bundle)
    spec = network.spec
    chosen = dataset or network.provenance.get("dataset", "cifar10")
    classes = find_dataset(chosen).classes
    if dataset is not None and classes != spec.classes:
        raise ArchonError(f"{spec.name}: expected a data set of {spec.classes} classes, got {dataset}, which has {classes}")
    stages, integers = read_stages(spec.name, build), read_integers(spec.name, bundle, build)
    images, indices, source = _images(spec, chosen, count)
    steps = count * (len(spec.layers) - 2)
    found = run(
        network, images.images, "fused", inspect=True, batch=1, on_layer=lambda name: on_layer and on_layer(name, steps)
    )
    return Facts(
        network=network,
        bundle=bundle,
        dataset=chosen,
        source=source,
        stages=stages,
        integers=integers,
        pictures=tuple(_pictures(found, images, indices, chosen, classes == spec.classes)),
        sparsity=tuple(sparsity_rows(network)),
        confusion=tuple(_confusion(found)),
        weights=tuple(_weights(found)),
        multiplications=tuple(_multiplications(network, found)),
    )


def sparsity_rows(network: IntegerNetwork) -> Iterator[SparsityRow]:
    """Every matrix of weights, in the order in which layers run; the gates' factors are none."""
    for layer, part in network.parts().items():
        for item in dataclasses.fields(part):
            if item.name.endswith("weight") and (weight := getattr(part, item.name)).ndim > 1:
                label = item.name.removesuffix("_weight").replace("_", " ").replace("weight", "weights")
                yield SparsityRow(layer, label, weight.size, int(np.count_nonzero(weight == 0)))


def _images(spec: NetworkSpec, dataset: str, count: int) -> tuple[ImageSet, list[int], str]:
    """The first test images in the network's size, their places in the test set, and where they come from."""
    if dataset == "cifar10" and data_folder(None) is None:
        excerpt = load_excerpt()
        chosen = reduced(fitted(excerpt, spec.height, spec.width, spec.channels), count, None)
        return chosen, excerpt.indices[:count].tolist(), "the excerpt of CIFAR-10 that comes with the project"
    return reduced(images_for(spec, dataset, "test"), count, None), list(range(count)), f"the test set of {dataset}"


def _pictures(found: NetworkRun, images: ImageSet, indices: list[int], dataset: str, labelled: bool) -> Iterator[Picture]:
    name = find_dataset(dataset).class_name if labelled else str
    maps = {layer: [relu.survivors for relu in (item.first, item.second) if relu] for layer, item in found.inspections.items()}
    for place, index in enumerate(indices):
        label = name(int(images.labels[place])) if labelled else None
        own = {layer: tuple(survivors[place] for survivors in relus) for layer, relus in maps.items()}
        yield Picture(index, images.images[place], label, name(int(found.classes[place])), own)


def _confusion(found: NetworkRun) -> Iterator[ConfusionRow]:
    for layer, inspected in found.inspections.items():
        yield ConfusionRow(layer, "first", found.statistics[layer].first)
        if inspected.second is not None:
            yield ConfusionRow(layer, "second", found.statistics[layer].second)
            yield ConfusionRow(layer, "second, exact first", inspected.second.statistics)


def _weights(found: NetworkRun) -> Iterator[WeightRow]:
    for layer, inspected in found.inspections.items():
        yield WeightRow(layer, "first", inspected.first.weight)
        if inspected.second is not None:
            yield WeightRow(layer, "second", inspected.second.weight)


def _multiplications(network: IntegerNetwork, found: NetworkRun) -> Iterator[MultiplicationRow]:
    """As the report of a simulation has them: its counters must equal these numbers."""
    fixed = fixed_multiplications(network)
    for cost in layer_costs(network):
        counts = found.counts.get(cost.name)
        executed = fixed[cost.name] if counts is None else sum(count.multiplications for count in counts) / len(counts)
        yield MultiplicationRow(cost.name, cost.multiplications_dense, cost.multiplications_pruned, executed)


def _flat(row: SparsityRow | ConfusionRow | WeightRow | MultiplicationRow) -> dict[str, object]:
    """A row's numbers beside each other."""
    values: dict[str, object] = {}
    for name, value in dataclasses.asdict(row).items():
        values |= value if isinstance(value, dict) else {name: value}
    return values
