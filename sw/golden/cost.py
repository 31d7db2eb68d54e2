"""Multiplications of every layer for one image, from shapes (dense) and non-zero weights (pruned)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sw.bundle.network import IntegerNetwork, Part
from sw.spec import Kind, LayerShape


@dataclass(frozen=True)
class LayerCost:
    """One layer's multiply-accumulates for one image."""

    name: str
    kind: Kind
    multiplications_dense: int
    """As separate layers, every weight counted, for what is fused."""
    multiplications_pruned: int
    """Only weights that are not zero."""
    nonzero_weights: int
    """How many these are."""


def layer_costs(network: IntegerNetwork) -> tuple[LayerCost, ...]:
    """All layers in the order in which they run, under their names of NetworkSpec.layers."""
    parts = network.parts()
    return tuple(_cost(layer, parts.get(layer.name)) for layer in network.spec.layers)


def _cost(layer: LayerShape, part: Part | None) -> LayerCost:
    counts = {name: int(np.count_nonzero(getattr(part, name))) for name in layer.weight_pixels}
    pruned = sum(count * layer.weight_pixels[name] for name, count in counts.items())
    # What gates multiply are activations: the integers of such a layer are no weights.
    weights = sum(counts.values()) if layer.weights else 0
    return LayerCost(layer.name, layer.kind, layer.multiply_accumulates, pruned, weights)
