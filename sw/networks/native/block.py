"""The kernel as a differentiable operation of the TensorFlow backend."""

from typing import Any

import numpy as np
import tensorflow as tf

from sw.networks.native import library
from sw.networks.predictor import ternarize
from sw.networks.rounding import straight_through
from sw.spec import BlockSpec

Tensor = Any


def apply(block: Any, inputs: Tensor, training: bool) -> Tensor:
    """Inputs [N, H, W, C] of a block to the sums of its project layer [N, H', W', K], as Block.call computes them.

    Statistics of the norms are updated, and the loss on survivors is added, as the layers do.
    """
    norms = {"norm1": block.expand.norm, "norm2": block.depthwise.norm}
    tensors = {
        "inputs": inputs,
        "expand": block.expand.used(),
        "expand_mask": block.expand.mask,
        "depthwise": block.depthwise.used(),
        "depthwise_mask": block.depthwise.mask,
        "project": block.project.used(),
        "project_mask": block.project.mask,
    }
    if block.predictor is not None:
        norms |= {"predictor_norm1": block.predictor.expand.norm, "predictor_norm2": block.predictor.depthwise.norm}
        tensors |= _predictor_tensors(block.predictor, inputs)
    limited = block.predictor or block
    costs = limited.costs()
    tensors["costs"] = tf.ones(block.spec.expanded_channels) if costs is None else costs
    batch = {name: training and not norm.frozen for name, norm in norms.items()}
    for name, norm in norms.items():
        prefix, index = name[: -len("norm1")], name[-1]
        gamma, beta = (norm.gamma, norm.beta) if batch[name] else norm.folded()
        tensors |= {f"{prefix}gamma{index}": gamma, f"{prefix}beta{index}": beta}
    results = _operation(block.spec, batch, tensors)
    for name, norm in norms.items():
        if batch[name]:
            prefix, index = name[: -len("norm1")], name[-1]
            norm.observed(results[f"{prefix}mean{index}"], results[f"{prefix}variance{index}"])
    if training:
        limited.limit_survivors(results["shares"][0], results["shares"][1])
    return results["outputs"]


def _predictor_tensors(predictor: Any, inputs: Tensor) -> dict[str, Tensor]:
    tensors = {"predictor_inputs": predictor.inputs(inputs)}
    for name, layer in (("expand", predictor.expand), ("depthwise", predictor.depthwise)):
        signs, alpha = ternarize(layer.masked())
        tensors[f"predictor_{name}"] = straight_through(alpha * signs, layer.masked())
        tensors[f"predictor_{name}_mask"] = layer.mask
        if name == "expand":
            tensors["level"] = alpha * predictor.input_step() * predictor.level_sums()
    return tensors


def _operation(spec: BlockSpec, batch: dict[str, bool], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The kernel and its gradient, both called back from TensorFlow's graph."""
    names = list(tensors)
    shapes = library.result_shapes(spec, tensors["inputs"].shape, "level" in tensors)
    wanted = [name for name in names if name not in library.WITHOUT_GRADIENT]

    def forward(*arrays: Any) -> list[Any]:
        results = library.forward(spec, _contiguous(names, arrays), batch)
        return [results[name] for name in shapes]

    def backward(*arrays: Any) -> list[Any]:
        given = _contiguous([*names, *shapes, "d_outputs", "d_shares"], arrays)
        gradients = {"outputs": given["d_outputs"], "shares": given["d_shares"]}
        results = {name: given[name] for name in shapes}
        found = library.backward(spec, {name: given[name] for name in names}, batch, results, gradients)
        return [found[name] for name in wanted]

    @tf.custom_gradient
    def run(*values: Tensor) -> Any:
        results = tf.numpy_function(forward, values, [tf.float32] * len(shapes), stateful=False)
        for result, shape in zip(results, shapes.values(), strict=True):
            result.set_shape(shape)

        def gradient(*upstream: Tensor) -> list[Tensor | None]:
            by_name = dict(zip(shapes, upstream, strict=True))
            last = [by_name["outputs"], by_name["shares"]]
            found = tf.numpy_function(backward, [*values, *results, *last], [tf.float32] * len(wanted), stateful=False)
            by_input = dict(zip(wanted, found, strict=True))
            for name, value in zip(names, values, strict=True):
                if name in by_input:
                    by_input[name].set_shape(value.shape)
            return [by_input.get(name) for name in names]

        return results, gradient

    return dict(zip(shapes, run(*(tf.convert_to_tensor(value) for value in tensors.values())), strict=True))


def _contiguous(names: list[str], arrays: tuple[Any, ...]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(array, np.float32) for name, array in zip(names, arrays, strict=True)}
