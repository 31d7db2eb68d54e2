"""Plain, named weights of a trained network, BatchNorm folded to a scale and an offset a channel."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.networks.block import Block
from sw.networks.fusion_network import FusionNetwork
from sw.networks.layers import MaskedLayer
from sw.networks.predictor import ternarize

Arrays = dict[str, NDArray[Any]]


def export_weights(model: FusionNetwork) -> Arrays:
    """Arrays of weights.npz; float32 unless said otherwise.

    Every layer X has X.weight (pruned entries zero), X.scale and X.offset (BatchNorm). Pointwise weights are
    [K, C / groups], depthwise [E, 3, 3], the stem's [C, 3, 3, 3], dense.weight [classes, L], dense.bias [classes].

    With predictors, blocks.I has besides: predictor_expand.weight [E, C / groups] and predictor_depthwise.weight
    [E, 3, 3], both int8 -1, 0 or 1, to be multiplied by .alpha []; .scale and .offset apply to that product with the
    4-bit input times its step (expand) and with the levels r1 0..15 (depthwise); predictor.shift [E] int8 0..3, the
    right shift of r1; input_scale [], the int8 scale of the block's input; last_pointwise.input_scale [] likewise.
    """
    arrays: Arrays = {"dense.weight": _numpy(model.dense.kernel).T, "dense.bias": _numpy(model.dense.bias)}
    for layer in model.masked_layers():
        arrays |= export_layer(layer)
    for block in model.blocks:
        arrays |= _predictor_arrays(block)
    if model.predicted:
        arrays["last_pointwise.input_scale"] = _numpy(model.last_input_scale)
    return arrays


def export_layer(layer: MaskedLayer) -> Arrays:
    """Weight, not rounded, and folded BatchNorm of one layer."""
    scale, offset = layer.norm.folded()
    tensors = {"weight": layer.masked(), "scale": scale, "offset": offset}
    return {f"{layer.name}.{part}": _numpy(tensor) for part, tensor in tensors.items()}


def _predictor_arrays(block: Block) -> Arrays:
    predictor = block.predictor
    if predictor is None:
        return {}
    arrays: Arrays = {
        f"{predictor.name}.shift": ops.convert_to_numpy(predictor.shift).astype(np.int8),
        f"{block.name}.input_scale": _numpy(predictor.input_scale),
    }
    layers: tuple[MaskedLayer, ...] = (predictor.expand, predictor.depthwise)
    for layer in layers:
        signs, alpha = ternarize(layer.masked())
        arrays[f"{layer.name}.weight"] = ops.convert_to_numpy(signs).astype(np.int8)
        arrays[f"{layer.name}.alpha"] = _numpy(alpha)
    return arrays


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32, order="C")
