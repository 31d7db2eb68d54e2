"""Random weights, BatchNorms and thresholds, of which random networks are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from sw.quantize.calibration import Activations
from sw.quantize.value_path import Floats, Integers
from sw.spec import BlockSpec, PointwisePairSpec, SparsitySpec

BIAS_DEVIATION = 0.3
"""Of biases, where activations have a deviation of one."""

LEVELS_A_DEVIATION = 32
"""int8 levels of one standard deviation of activations."""

SMALLEST_DEVIATION = 1e-2
"""Activations that hardly vary, as behind blocks without survivors, are not blown up beyond this."""

RESIDUAL_SHARE = 0.5
"""Deviation of what a residual block adds, against that of its input."""


def sparse(random: np.random.Generator, shape: tuple[int, ...], zeros: float) -> Floats:
    """Normal weights, a share of `zeros` of them zero (exact to one), scaled for outputs of deviation one."""
    count = int(np.prod(shape))
    kept = np.zeros(count, dtype=bool)
    kept[random.permutation(count)[: max(1, round(count * (1 - zeros)))]] = True
    return _scaled(random, kept.reshape(shape))


def sparse_expand(random: np.random.Generator, spec: BlockSpec | PointwisePairSpec, sparsity: SparsitySpec) -> Floats:
    """Weights (E, C/G) of a block's expand layer, balanced over the input channels of a group if asked for."""
    outputs, inputs = spec.expanded_channels // spec.groups, spec.in_channels // spec.groups
    if not sparsity.balanced:
        return sparse(random, (spec.expanded_channels, inputs), sparsity.pointwise)
    ranks = random.permuted(np.broadcast_to(np.arange(outputs)[:, None], (spec.groups, outputs, inputs)), axis=1)
    kept = ranks < max(1, round(outputs * (1 - sparsity.pointwise)))
    return _scaled(random, kept.reshape(spec.expanded_channels, inputs))


def _scaled(random: np.random.Generator, kept: NDArray[np.bool_]) -> Floats:
    """Normal weights where they are kept, for outputs of deviation one."""
    weights = np.where(kept, random.normal(size=kept.shape), 0.0)
    return weights / np.sqrt(max(1.0, kept.sum() / len(kept)))


def normalised(random: np.random.Generator, weight: Floats, outputs: Activations) -> tuple[Floats, Floats, Activations]:
    """Weight, bias and outputs after a BatchNorm for these outputs: deviation one, small random means."""
    axes = tuple(range(outputs.ndim - 1))
    deviation = np.maximum(outputs.std(axis=axes), SMALLEST_DEVIATION)
    offset = random.normal(size=len(weight)) * BIAS_DEVIATION
    bias = offset - outputs.mean(axis=axes) / deviation
    scaled = weight / deviation.reshape(-1, *(1,) * (weight.ndim - 1))
    return scaled, bias, (outputs / deviation + bias).astype(np.float32)


def without_lost_weights(weight: Floats, bias: Floats) -> Floats:
    """Biases (E,), but none where all weights (E, ...) are so small against it that they would be rounded to zero."""
    peak = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return np.where((peak > 0) & (peak < SMALLEST_DEVIATION), 0.0, bias)


def ordered_sums(sums: Activations) -> NDArray[np.int16]:
    """Sums (..., E), which are small integers, sorted by channel: (E, samples)."""
    columns = np.ascontiguousarray(sums.reshape(-1, sums.shape[-1]).astype(np.int16).T)
    columns.sort(axis=1, kind="stable")
    return columns


def share_thresholds(ordered: NDArray[np.int16], share: float) -> Integers:
    """Thresholds (E,) for ascending sums (E, samples), so that `share` of all sums lie above theirs.

    Sums are small integers, so a channel can only come near the share; what one channel has too many, the next ones
    get fewer, so that the share is met over all channels. Shares 0 and 1 hold for any input.
    """
    channels, samples = ordered.shape
    low, high = numerics.signed_range(Widths().predictor_sum)
    if share in {0, 1}:
        return np.full(channels, high if share == 0 else low, dtype=np.int64)
    thresholds = np.zeros(channels, dtype=np.int64)
    debt = 0.0
    for channel, column in enumerate(ordered):
        wanted = share * samples + debt
        position = min(max(round(samples - wanted), 0), samples - 1)
        candidates = (int(column[position]), int(column[position]) - 1)
        counts = [samples - int(np.searchsorted(column, np.int16(value), side="right")) for value in candidates]
        chosen = int(abs(counts[1] - wanted) < abs(counts[0] - wanted))
        thresholds[channel] = min(max(candidates[chosen], low), high)
        debt = wanted - counts[chosen]
    return thresholds
