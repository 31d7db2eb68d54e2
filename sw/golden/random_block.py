"""Random blocks and activations for tests, at every sparsity and at the extremes, always within the hardware's widths."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from sw.bundle.bounds import check_bounds, largest_sums
from sw.bundle.network import FusedBlock, Requantization
from sw.spec import BlockSpec

Survivors = Literal["none", "some", "all"]
Integers = NDArray[np.int64]

LARGEST_BIAS_SUM = 1 << 29
"""Of all biases that reach an output channel; as much again is left for b3, and twice that for A * x."""

_NO_DTYPE_LIMIT = 1 << 30


def random_block(
    spec: BlockSpec,
    seed: int,
    sparsity: float = 0.6,
    survivors: tuple[Survivors, Survivors] = ("some", "some"),
    *,
    extreme: bool = False,
    widths: Widths | None = None,
) -> FusedBlock:
    """A seeded random block that `check_bounds` accepts.

    Args:
        spec: shapes.
        seed: of every random number.
        sparsity: share of zeros of all weights and biases, 0..1.
        survivors: of the first and the second ReLU; "none" and "all" hold for every input.
        extreme: only the largest magnitudes before they are made to fit, instead of any.
        widths: of the hardware; the contract's when left out.
    """
    widths = widths or Widths()
    draw = _Draw(np.random.default_rng(seed), sparsity, extreme)
    expanded, inputs = spec.expanded_channels, spec.in_channels // spec.groups
    window = (expanded, spec.kernel, spec.kernel)
    first = draw.integers((expanded, inputs), widths.weight_max)
    depthwise = draw.integers((expanded, spec.kernel**2), widths.weight_max)
    project = draw.integers((spec.out_channels, expanded // spec.groups), _largest_project(widths))
    project *= np.repeat(first.any(axis=1).reshape(spec.groups, -1), spec.out_channels // spec.groups, axis=0)
    project = _fitted_project(first, depthwise, project, widths)
    bias_limit = numerics.signed_range(widths.bias_product)[1] // np.maximum(1, np.abs(depthwise).max(axis=1))
    first_bias = draw.integers((expanded,), np.minimum(bias_limit, _NO_DTYPE_LIMIT))
    second_bias = draw.integers((expanded,), numerics.signed_range(widths.bias)[1])
    first_bias, second_bias = _fitted_biases(depthwise, project, first_bias, second_bias)
    thresholds = _Thresholds(draw, widths)
    ternary = thresholds.weight((expanded, inputs), thresholds.input_magnitude)
    ternary_depthwise = thresholds.weight((expanded, spec.kernel**2), numerics.LEVEL_MAX)
    block = FusedBlock(
        expand_weight=first.astype(np.int8),
        expand_bias=first_bias.astype(np.int32),
        depthwise_weight=depthwise.reshape(window).astype(np.int8),
        depthwise_bias=second_bias.astype(np.int32),
        project_weight=project.astype(np.int32),
        requantization=_no_requantization(spec.out_channels),
        predictor_expand_weight=ternary.astype(np.int8),
        predictor_expand_threshold=thresholds.draw(ternary, thresholds.input_magnitude, survivors[0]),
        predictor_level_shift=draw.random.integers(0, 1 << min(widths.level_shift, 2), expanded).astype(np.int8),
        predictor_depthwise_weight=ternary_depthwise.reshape(window).astype(np.int8),
        predictor_depthwise_threshold=thresholds.draw(ternary_depthwise, numerics.LEVEL_MAX, survivors[1]),
    )
    block = FusedBlock(**{**vars(block), "requantization": _requantization(block, draw.random)})
    block.check("random block", spec)
    check_bounds(block, "random block", widths)
    return block


def random_activation(shape: tuple[int, ...], seed: int, *, extreme: bool = False) -> NDArray[np.int8]:
    """Any int8 values, or only the largest and the smallest."""
    random = np.random.default_rng(seed)
    low, high = numerics.signed_range(numerics.ACTIVATION_BITS)
    values = random.choice([low, high], shape) if extreme else random.integers(low, high + 1, shape)
    return values.astype(np.int8)


class _Draw:
    """Sparse random integers."""

    def __init__(self, random: np.random.Generator, sparsity: float, extreme: bool) -> None:
        self.random, self.sparsity, self.extreme = random, sparsity, extreme

    def integers(self, shape: tuple[int, ...], limit: int | Integers) -> Integers:
        """Magnitudes up to `limit`, which broadcasts against `shape`."""
        limits = np.broadcast_to(np.asarray(limit, dtype=np.int64), shape)
        magnitudes = limits if self.extreme else self.random.integers(np.minimum(1, limits), limits, endpoint=True)
        return magnitudes * self.signs(shape)

    def signs(self, shape: tuple[int, ...]) -> Integers:
        """-1, 0 or 1."""
        return self.random.choice([-1, 1], shape) * (self.random.random(shape) >= self.sparsity)


class _Thresholds:
    """Ternary weights and thresholds that fit the predictor's sums."""

    def __init__(self, draw: _Draw, widths: Widths) -> None:
        self.draws = draw
        self.input_magnitude = -numerics.signed_range(numerics.PREDICTOR_INPUT_BITS)[0]
        self.low, self.high = numerics.signed_range(widths.predictor_sum)

    def weight(self, shape: tuple[int, int], magnitude: int) -> Integers:
        """Ternary (E, terms), with no more weights in a row than a sum of inputs of that magnitude has room for."""
        weight = self.draws.signs(shape)
        return weight * (np.cumsum(weight != 0, axis=1) <= self.high // magnitude)

    def draw(self, weight: Integers, magnitude: int, survivors: Survivors) -> NDArray[np.int32]:
        """(E,) thresholds for sums of `weight` times inputs of up to `magnitude`."""
        if survivors == "some":
            spread = np.sqrt(np.count_nonzero(weight, axis=1)) * magnitude / 2
            values = np.rint(self.draws.random.normal(size=len(weight)) * spread).astype(np.int64)
            return np.clip(values, self.low, self.high).astype(np.int32)
        # No sum is as small as the smallest value of its width, and none is above the largest.
        return np.full(len(weight), self.low if survivors == "all" else self.high, dtype=np.int32)


def _largest_project(widths: Widths) -> int:
    """Largest W2 whose signed powers stay within the largest shift: binary 1010... from that shift down."""
    return sum(1 << shift for shift in range(widths.shift_max, -1, -2))


def _fitted_project(first: Integers, depthwise: Integers, project: Integers, widths: Widths) -> Integers:
    """W2 divided, row by row, until A and A * x fit."""
    limit = numerics.signed_range(widths.accumulator)[1]
    total_limit = numerics.signed_range(numerics.OUTPUT_ACCUMULATOR_BITS - 1)[1]
    groups = len(first) // project.shape[1]
    products = np.abs(first)[:, :, None] * np.abs(depthwise)[:, None, :]
    entries = np.abs(project).reshape(groups, -1, project.shape[1]) @ products.reshape(groups, project.shape[1], -1)
    entries = entries.reshape(len(project), -1)
    excess = np.maximum(-(-entries.max(axis=1, initial=0) // limit), -(-128 * entries.sum(axis=1) // total_limit))
    divisor = np.maximum(1, excess)[:, None]
    return np.sign(project) * (np.abs(project) // divisor)


def _fitted_biases(
    depthwise: Integers, project: Integers, first_bias: Integers, second_bias: Integers
) -> tuple[Integers, Integers]:
    """b1 and b2 divided until what reaches an output channel fits."""
    groups = len(depthwise) // project.shape[1]
    largest = np.abs(second_bias) + np.abs(depthwise).sum(axis=1) * np.abs(first_bias)
    sums = np.abs(project).reshape(groups, -1, project.shape[1]) @ largest.reshape(groups, -1, 1)
    divisor = max(1, -(-int(sums.max(initial=0)) // LARGEST_BIAS_SUM))
    return tuple(np.sign(bias) * (np.abs(bias) // divisor) for bias in (first_bias, second_bias))


def _no_requantization(channels: int) -> Requantization:
    zeros = np.zeros(channels, dtype=np.int32)
    return Requantization(zeros, zeros, zeros.astype(np.int8))


def _requantization(block: FusedBlock, random: np.random.Generator) -> Requantization:
    """b3 and factors that bring a good part of the sums between the ends of int8."""
    channels = len(block.project_weight)
    _, largest = largest_sums(block)
    typical = np.maximum(1, largest // random.choice([4, 32, 256], channels))
    bias = random.integers(-typical, typical, endpoint=True)
    shift = numerics.MULTIPLIER_BITS + np.log2(typical / 64).astype(np.int64) + random.integers(-1, 2, channels)
    multiplier = random.integers(1 << (numerics.MULTIPLIER_BITS - 1), 1 << numerics.MULTIPLIER_BITS, channels)
    return Requantization(
        bias.astype(np.int32),
        multiplier.astype(np.int32),
        np.clip(shift, 0, numerics.MULTIPLIER_SHIFT_MAX).astype(np.int8),
    )
