"""Weights that are not zero, and multiply-accumulates with these alone: of a run's float weights, and of a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.arrays import file_digest, load_arrays
from sw.bundle import load_bundle
from sw.golden import layer_costs
from sw.quantize.network import HAS_SCALES
from sw.spec import LayerShape, NetworkSpec


@dataclass(frozen=True)
class Counts:
    """Of one image; predictors, biases and BatchNorms are not among the weights."""

    weights: int
    multiply_accumulates: int


@dataclass(frozen=True)
class BundleFacts:
    """What the table needs of a bundle.

    Attributes:
        digest: sha256 of its file.
        spec: the network.
        provenance: where its weights come from.
        counts: of its integers.
    """

    digest: str
    spec: NetworkSpec
    provenance: dict[str, str]
    counts: Counts


def run_counts(path: Path, spec: NetworkSpec) -> Counts:
    """Of the float weights that a run left.

    Raises:
        ArchonError: the file is damaged or of another network.
    """
    try:
        return float_counts(load_arrays(path), spec)
    except KeyError as error:
        raise ArchonError(f"{path}: expected weights of {spec.name}, got none called {error}") from error


def has_scales(path: Path) -> bool:
    """Whether a run's accuracy is that of its integers: their scales then come with the weights."""
    return HAS_SCALES in load_arrays(path)


def float_counts(arrays: Mapping[str, NDArray[Any]], spec: NetworkSpec) -> Counts:
    """Of arrays that are named as training exports them; KeyError names one that is missing."""
    weights = multiply_accumulates = 0
    for layer in spec.layers:
        if not layer.weights:
            multiply_accumulates += layer.multiply_accumulates  # by gates, which are activations
            continue
        for part, pixels in layer.weight_pixels.items():
            count = int(np.count_nonzero(arrays[array_name(layer, part)]))
            weights += count
            multiply_accumulates += count * pixels
    return Counts(weights, multiply_accumulates)


def array_name(layer: LayerShape, part: str) -> str:
    """Name of a layer's weight among a run's arrays; `part` is its name among the integers, as in weight_pixels."""
    if layer.block is None:
        return f"{layer.name}.weight"
    _, number, *rest = layer.name.split()
    block, member = f"blocks.{int(number) - 1}", part.removesuffix("weight").rstrip("_") or rest[0]
    excitation = member in {"reduce", "excite"}
    return f"{block}.excitation.{member}_weight" if excitation else f"{block}.{member}.weight"


def bundle_facts(path: Path) -> BundleFacts:
    """Of a bundle.

    Raises:
        ArchonError: it cannot be read.
    """
    return _bundle_facts(path, file_digest(path))


@lru_cache(maxsize=64)
def _bundle_facts(path: Path, digest: str) -> BundleFacts:
    """Large bundles take seconds to read, and the table asks more than once."""
    network = load_bundle(path)
    costs = layer_costs(network)
    counts = Counts(sum(cost.nonzero_weights for cost in costs), sum(cost.multiplications_pruned for cost in costs))
    return BundleFacts(digest, network.spec, network.provenance, counts)
