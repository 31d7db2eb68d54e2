"""Reading trained weights (sw.train.export names) with BatchNorm folded in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.quantize.precision import Precision
from sw.quantize.predictor import TernaryLayer
from sw.quantize.value_path import Floats, ValuePath
from sw.spec import BlockSpec, PointwisePairSpec

Arrays = Mapping[str, NDArray[Any]]


def find(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Floats:
    """The array `name` as float64.

    Raises:
        ArchonError: it is missing, has another shape, or holds a number that is not finite.
    """
    if name not in arrays:
        raise ArchonError(f"trained weights: expected an array {name}, got none of that name")
    array = np.asarray(arrays[name], dtype=np.float64)
    if array.shape != shape:
        raise ArchonError(f"trained weights: expected {name} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ArchonError(f"trained weights: expected finite numbers in {name}, got an infinite one or none")
    return array


def scale_of(arrays: Arrays, name: str) -> float:
    """A positive scalar, such as an activation's scale."""
    value = float(find(arrays, name, ()))
    if value <= 0:
        raise ArchonError(f"trained weights: expected a positive {name}, got {value}")
    return value


def folded(arrays: Arrays, layer: str, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Weight (channels, ...) with BatchNorm's scale multiplied in, and BatchNorm's offset (channels,)."""
    scale = find(arrays, f"{layer}.scale", shape[:1])
    weight = find(arrays, f"{layer}.weight", shape)
    return weight * scale.reshape(-1, *(1,) * (len(shape) - 1)), find(arrays, f"{layer}.offset", shape[:1])


def value_path(arrays: Arrays, block: str, spec: BlockSpec) -> ValuePath:
    """Folded W1, D, W2 and biases of the block whose arrays start with `block`."""
    expanded, groups = spec.expanded_channels, spec.groups
    w1, b1 = folded(arrays, f"{block}.expand", (expanded, spec.in_channels // groups))
    d, b2 = folded(arrays, f"{block}.depthwise", (expanded, spec.kernel, spec.kernel))
    w2, b3 = folded(arrays, f"{block}.project", (spec.out_channels, expanded // groups))
    return ValuePath(w1, b1, d, b2, w2, b3)


def predictor_layers(
    arrays: Arrays, block: str, spec: BlockSpec, input_scale: float, precision: Precision | None = None
) -> tuple[TernaryLayer, TernaryLayer, NDArray[np.int64]]:
    """The predictor's expand and depthwise layers and its level shifts.

    Finer inputs than usual make sums larger, so that shifts grow by as many bits. With coarser ones they fall, to 0 at least;
    where they cannot fall as far, a level stands for as many more, which the depthwise layer's scale makes up for.
    """
    expanded, precision = spec.expanded_channels, precision or Precision()
    first = predictor_expand(arrays, block, spec, input_scale, precision)
    second = _ternary(arrays, f"{block}.predictor_depthwise", (expanded, spec.kernel, spec.kernel), 1.0)
    wanted = find(arrays, f"{block}.predictor.shift", (expanded,)).astype(np.int64) + precision.finer
    shift = np.maximum(wanted, 0)
    return first, dataclasses.replace(second, scale=np.ldexp(second.scale, shift - wanted)), shift


def predictor_expand(
    arrays: Arrays, block: str, spec: BlockSpec | PointwisePairSpec, input_scale: float, precision: Precision | None = None
) -> TernaryLayer:
    """The predictor's expand layer."""
    step = input_scale * (precision or Precision()).input_step
    return _ternary(arrays, f"{block}.predictor_expand", (spec.expanded_channels, spec.in_channels // spec.groups), step)


def _ternary(arrays: Arrays, layer: str, shape: tuple[int, ...], step: float) -> TernaryLayer:
    signs = find(arrays, f"{layer}.weight", shape)
    if not np.isin(signs, (-1, 0, 1)).all():
        raise ArchonError(f"trained weights: expected -1, 0 or 1 in {layer}.weight, got {signs.flat[np.abs(signs).argmax()]}")
    return TernaryLayer(
        signs=signs.astype(np.int64),
        unit=float(find(arrays, f"{layer}.alpha", ())) * step,
        scale=find(arrays, f"{layer}.scale", shape[:1]),
        offset=find(arrays, f"{layer}.offset", shape[:1]),
    )
