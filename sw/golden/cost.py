"""Multiplications of every layer for one image, from shapes (dense) and non-zero weights (pruned)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sw.bundle.network import IntegerNetwork
from sw.spec import BlockShape, block_weights

Kind = Literal["convolution", "pointwise", "depthwise", "fused block", "pool", "dense", "image"]


@dataclass(frozen=True)
class LayerCost:
    """One layer's multiply-accumulates for one image."""

    name: str
    kind: Kind
    multiplications_dense: int
    """As three layers, every weight counted, for a block."""
    multiplications_pruned: int
    """Only weights that are not zero."""


def layer_costs(network: IntegerNetwork) -> tuple[LayerCost, ...]:
    """All layers in the order in which they run.

    Their names: image (pixels to activations), stem, first_pointwise, first_depthwise, block 1 and on, last_pointwise, pool,
    dense.
    """
    spec, shapes = network.spec, network.spec.block_shapes()
    stem_pixels = spec.stem_shape()[0] * spec.stem_shape()[1]
    last_pixels = shapes[-1].out_height * shapes[-1].out_width

    def of(name: str, kind: Kind, weight: np.ndarray, pixels: int) -> LayerCost:
        return LayerCost(name, kind, weight.size * pixels, int(np.count_nonzero(weight)) * pixels)

    blocks = [_block_cost(network, index, shape) for index, shape in enumerate(shapes)]
    return (
        LayerCost("image", "image", 0, 0),
        of("stem", "convolution", network.stem.weight, stem_pixels),
        of("first_pointwise", "pointwise", network.first_pointwise.weight, stem_pixels),
        of("first_depthwise", "depthwise", network.first_depthwise.weight, stem_pixels),
        *blocks,
        of("last_pointwise", "pointwise", network.last_pointwise.weight, last_pixels),
        LayerCost("pool", "pool", 0, 0),
        of("dense", "dense", network.dense_weight, 1),
    )


def _block_cost(network: IntegerNetwork, index: int, shape: BlockShape) -> LayerCost:
    block = network.blocks[index]
    expand, depthwise, project = block_weights(network.spec.blocks[index])
    inside, outside = shape.in_height * shape.in_width, shape.out_height * shape.out_width
    pruned = np.count_nonzero(block.expand_weight) * inside
    pruned += (np.count_nonzero(block.depthwise_weight) + np.count_nonzero(block.project_weight)) * outside
    dense = expand * inside + (depthwise + project) * outside
    return LayerCost(f"block {index + 1}", "fused block", dense, int(pruned))
