"""Multiplications of every layer for one image, from shapes (dense) and non-zero weights (pruned)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sw.bundle.network import DenseLayer, FusedBlock, IntegerNetwork, Part, PointwisePair, Scaling
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


def layer_costs(network: IntegerNetwork) -> tuple[LayerCost, ...]:
    """All layers in the order in which they run, under their names of NetworkSpec.layers."""
    parts = network.parts()
    return tuple(
        LayerCost(layer.name, layer.kind, layer.multiply_accumulates, _pruned(layer, parts.get(layer.name)))
        for layer in network.spec.layers
    )


def _pruned(layer: LayerShape, part: Part | None) -> int:
    inside, outside = layer.source.pixels, layer.output.pixels
    if isinstance(part, DenseLayer | Scaling):
        return int(np.count_nonzero(part.weight)) * outside
    if isinstance(part, FusedBlock):
        behind = np.count_nonzero(part.depthwise_weight) + np.count_nonzero(part.project_weight)
        return int(np.count_nonzero(part.expand_weight) * inside + behind * outside)
    if isinstance(part, PointwisePair):
        return int(np.count_nonzero(part.expand_weight) + np.count_nonzero(part.project_weight)) * outside
    return 0
