"""Plain, named weights of a trained network, BatchNorm folded to a scale and an offset a channel."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from sw.networks.block import Block
from sw.networks.layers import MaskedLayer
from sw.networks.network import Network
from sw.networks.predictor import Predictor, ternarize

Arrays = dict[str, NDArray[Any]]


def export_weights(model: Network) -> Arrays:
    """Arrays of weights.npz; float32 unless said otherwise.

    Every layer X has X.weight (pruned entries zero), X.scale and X.offset (BatchNorm). Pointwise weights are
    [K, C / groups], depthwise [E, 3, 3], the stem's [C, 3, 3, 3], dense.weight [classes, L], dense.bias [classes].

    Blocks with squeeze-and-excite have excitation.reduce_weight [R, C], .reduce_bias [R], .excite_weight [C, R] and
    .excite_bias [C].

    With predictors, blocks.I has besides: predictor_expand.weight [E, C / groups] and predictor_depthwise.weight
    [E, 3, 3], both int8 -1, 0 or 1, to be multiplied by .alpha []; .scale and .offset apply to that product with the
    4-bit input times its step (expand) and with the levels r1 0..15 (depthwise); predictor.shift [E] int8 0..3, the
    right shift of r1. The predictor of a pair of pointwise layers has an expand layer alone. input_scale [] is the int8
    scale of the block's input; last_pointwise.input_scale [] (or pool.input_scale) likewise.
    """
    arrays: Arrays = {"dense.weight": _numpy(model.dense.kernel).T, "dense.bias": _numpy(model.dense.bias)}
    for layer in model.masked_layers():
        arrays |= export_layer(layer)
    for block in model.blocks:
        arrays |= _block_arrays(block)
    if model.scaled:
        arrays[model.last_scale_name] = _numpy(model.last_input_scale)
    return arrays


def export_layer(layer: MaskedLayer) -> Arrays:
    """Weight, not rounded, and folded BatchNorm of one layer."""
    scale, offset = layer.norm.folded()
    tensors = {"weight": layer.masked(), "scale": scale, "offset": offset}
    return {f"{layer.label}.{part}": _numpy(tensor) for part, tensor in tensors.items()}


def _block_arrays(block: Block) -> Arrays:
    """What a block has beside its convolutions; its output's scale is the next one's input_scale."""
    predictor = block.predictor
    arrays: Arrays = {}
    if block.excitation is not None:
        arrays |= {f"{block.label}.excitation.{variable.name}": _numpy(variable) for variable in block.excitation.variables}
    arrays |= {f"{block.label}.{part}_scale": _numpy(scale) for part, scale in block.scales.items()}
    if block.input_scale is not None:
        arrays[f"{block.label}.input_scale"] = _numpy(block.input_scale)
    if predictor is None:
        return arrays
    if isinstance(predictor, Predictor):
        arrays[f"{predictor.label}.shift"] = ops.convert_to_numpy(predictor.shift).astype(np.int8)
    for layer in predictor.masked_layers():
        signs, alpha = ternarize(layer.masked())
        arrays[f"{layer.label}.weight"] = ops.convert_to_numpy(signs).astype(np.int8)
        arrays[f"{layer.label}.alpha"] = _numpy(alpha)
    return arrays


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32, order="C")
