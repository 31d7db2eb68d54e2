"""Quantised blocks against formulas written out: what is int8 in the integer network is int8 in training, where it is there."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from sw.networks.block import Block
from sw.networks.test_kinds import (
    ADDING,
    ADDING_PAIR,
    BARE,
    EXCITED,
    PAIR,
    SHUFFLING,
    interleave,
    random_block,
    run_depthwise,
    run_pointwise,
)
from sw.networks.test_networks import images, reference_depthwise
from sw.spec import AnyBlockSpec, PointwisePairSpec, UnfusedSpec

INPUT_SCALE, OUTPUT_SCALE, INNER_SCALE, GATE_SCALE = 0.05, 0.25, 0.5, 1 / 128


def rounded(x: np.ndarray, scale: float) -> np.ndarray:
    levels = np.sign(x) * np.floor(np.abs(x) / scale + 0.5)
    return np.clip(levels, -128, 127) * scale


def gated(block: Any, x: np.ndarray) -> np.ndarray:
    """Squeeze-and-excite with int8 means and hidden values, and gates of 7 bits."""
    parts = {variable.name: np.asarray(variable) for variable in block.excitation.variables}
    means = rounded(x.mean((1, 2)), INNER_SCALE)
    hidden = rounded(np.maximum(means @ parts["reduce_weight"].T + parts["reduce_bias"], 0), INNER_SCALE)
    z = hidden @ parts["excite_weight"].T + parts["excite_bias"]
    return x * rounded(np.clip((z + 3) / 6, 0, 1), GATE_SCALE)[:, None, None, :]


def inner(block: Any, x: np.ndarray) -> np.ndarray:
    """What the block's layers compute, before the output is rounded."""
    spec = block.spec
    if isinstance(spec, PointwisePairSpec):
        y = run_pointwise(block.expand, x) * (np.asarray(block.predictor(x)) > 0)
        y = interleave(y, spec.groups) if spec.inner_shuffle else y
        y = rounded(np.maximum(run_pointwise(block.project, y), 0), INNER_SCALE)
        return run_depthwise(block.depthwise, y)
    if isinstance(spec, UnfusedSpec):
        y = x
        if spec.expand:
            y = rounded(np.maximum(run_pointwise(block.expand, y), 0), INNER_SCALE)
        y = interleave(y, spec.groups) if spec.inner_shuffle else y
        y = run_depthwise(block.depthwise, y)
        y = rounded(np.maximum(y, 0) if spec.depthwise_relu else y, INNER_SCALE)
        y = rounded(gated(block, y), INNER_SCALE) if spec.squeeze_and_excite else y
        y = run_pointwise(block.project, y)
        return interleave(y, spec.groups) if spec.shuffle else y
    r1, s2 = (np.asarray(tensor) for tensor in block.predictor(x))
    y = run_depthwise(block.depthwise, run_pointwise(block.expand, x) * (r1 > 0)) * (s2 > 0)
    return gated(block, rounded(interleave(run_pointwise(block.project, y), spec.groups), INNER_SCALE))


def written_out(block: Any, x: np.ndarray) -> np.ndarray:
    spec = block.spec
    y = rounded(inner(block, x), OUTPUT_SCALE)
    if spec.residual:
        y = rounded(y + x, OUTPUT_SCALE)
    if getattr(spec, "average_pool_shortcut", False):
        pooled = reference_depthwise(x, np.full((x.shape[-1], 3, 3), 1 / 9), spec.stride)
        y = np.concatenate([rounded(pooled, OUTPUT_SCALE), y], -1)
    return np.maximum(y, 0) if getattr(spec, "output_relu", False) else y


def quantized_block(spec: AnyBlockSpec) -> Block:
    block = random_block(spec, predicted=not isinstance(spec, UnfusedSpec), quantized=True)
    block.input_scale.assign(INPUT_SCALE)
    block.output_scale.assign(OUTPUT_SCALE)
    of_gates = {} if block.excitation is None else block.excitation.scales
    for scale in (*block.scales.values(), *of_gates.values()):
        scale.assign(INNER_SCALE)
    return block


@pytest.mark.parametrize("spec", [SHUFFLING, ADDING, BARE, EXCITED, PAIR, ADDING_PAIR])
def test_quantized_blocks_written_out(spec: AnyBlockSpec) -> None:
    block, x = quantized_block(spec), rounded(images(2, 5, 6, 6), INPUT_SCALE).astype(np.float32)
    expected = written_out(block, x)
    off = np.abs(ops.convert_to_numpy(block(x)) - expected) / OUTPUT_SCALE
    assert len(np.unique(expected)) > 15
    assert (off > 0.01).mean() < 0.01, "but for sums that are halfway between two levels"


def test_outputs_saturate_before_and_after_the_residual_is_added() -> None:
    block = quantized_block(ADDING_PAIR)
    y, x = (OUTPUT_SCALE * np.array(levels, np.float32) for levels in ([200, -200, 100, -0.5, 0.5], [-100, 100, 90, 3, -3]))
    assert (ops.convert_to_numpy(block.joined(y, x)) / OUTPUT_SCALE).tolist() == [27, -28, 127, 2, -2]
