"""Proof from the weights alone that no sum of a network can overflow, for any image and any masks.

Every intermediate sum (an entry of A, a lane's share of y, a bias accumulator, a sum over some of the pixels) adds a subset of
the terms whose magnitudes are added here, so a bound on all of them holds for every order and every cut over lanes and jobs.
An entry of A of a layer that is not fused is one int8 weight, which the narrowest accumulator holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from hw.contract.taps import SMALL_TAPS
from sw.bundle.blocks import pair_as_block
from sw.bundle.network import DenseLayer, FusedBlock, IntegerNetwork, PointwisePair, Requantization, Scaling
from sw.spec import PointwisePairSpec

Integers = NDArray[np.int64]

INPUT_MAGNITUDE = 1 << (numerics.ACTIVATION_BITS - 1)
PREDICTOR_INPUT_RANGE = numerics.signed_range(numerics.PREDICTOR_INPUT_BITS)


def check_bounds(block: FusedBlock, name: str, widths: Widths) -> None:
    """Raise ArchonError unless every integer and every possible sum of a block fits its width.

    Args:
        block: integer weights, of the shapes that `FusedBlock.check` asks for.
        name: of the layer, for messages.
        widths: of the hardware.

    Raises:
        ArchonError: names layer, channel, what does not fit, and the width that would do.
    """
    expanded = len(block.expand_weight)
    first = block.expand_weight.astype(np.int64)
    depthwise = block.depthwise_weight.astype(np.int64).reshape(expanded, -1)
    _check_magnitudes(f"{name}: W1", first, "expanded channel", widths.weight, widths.weight_max)
    _check_magnitudes(f"{name}: D", depthwise, "expanded channel", widths.weight, widths.weight_max)
    bias_products = depthwise * block.expand_bias.astype(np.int64)[:, None]
    _check_signed(f"{name}: D b1", bias_products, "expanded channel", widths.bias_product)
    _check_signed(f"{name}: b2", block.depthwise_bias, "expanded channel", widths.bias)
    _check_shifts(f"{name}: W2", block.project_weight, widths)
    _check_pairs(name, block, bias_products)
    entries, total = largest_sums(block)
    _check_signed(f"{name}: an entry of A", entries, "output channel", widths.accumulator)
    _check_signed(f"{name}: y", total, "output channel", numerics.OUTPUT_ACCUMULATOR_BITS)
    _check_predictor(name, block, widths)


def largest_sums(block: FusedBlock) -> tuple[Integers, Integers]:
    """Largest magnitudes, per output channel (K,): of any entry of A, and of y with b3 and all biases."""
    expanded = len(block.expand_weight)
    groups = expanded // block.project_weight.shape[1]
    first = np.abs(block.expand_weight.astype(np.int64))
    depthwise = np.abs(block.depthwise_weight.astype(np.int64)).reshape(expanded, -1)
    products = (first[:, :, None] * depthwise[:, None, :]).reshape(groups, expanded // groups, -1)
    project = np.abs(block.project_weight.astype(np.int64)).reshape(groups, -1, expanded // groups)
    # float64 holds these sums exactly (far below 2**53) and multiplies matrices fast.
    entries = (project.astype(np.float64) @ products.astype(np.float64)).astype(np.int64).reshape(len(block.project_weight), -1)
    biases = np.abs(block.depthwise_bias.astype(np.int64)) + depthwise.sum(axis=1) * np.abs(block.expand_bias.astype(np.int64))
    bias_sums = (project @ biases.reshape(groups, -1, 1)).reshape(-1)
    total = INPUT_MAGNITUDE * entries.sum(axis=1) + bias_sums + np.abs(block.requantization.bias.astype(np.int64))
    return entries.max(axis=1, initial=0), total


def check_network_bounds(network: IntegerNetwork, widths: Widths) -> None:
    """`check_bounds` for what is fused, `check_fixed_bounds` for the layers that are not.

    Raises:
        ArchonError: names layer and channel.
    """
    parts = network.parts()
    for layer in network.spec.layers:
        part = parts.get(layer.name)
        if isinstance(part, FusedBlock):
            check_bounds(part, layer.name, widths)
        elif isinstance(part, PointwisePair) and isinstance(layer.block, PointwisePairSpec):
            check_bounds(pair_as_block(part, layer.block)[0], layer.name, widths)
        elif isinstance(part, DenseLayer):
            check_fixed_bounds(layer.name, part.weight, part.requantization.bias, widths)
        elif isinstance(part, Scaling):
            check_fixed_bounds(layer.name, part.weight, np.zeros(len(part.weight), dtype=np.int32), widths)
        elif isinstance(part, Requantization):
            _check_pool(layer.name, part, SMALL_TAPS if layer.kind == "average pool" else layer.source.pixels)


def check_fixed_bounds(name: str, weight: NDArray[np.int8], bias: NDArray[np.int32], widths: Widths) -> None:
    """Raise ArchonError unless weights and every possible sum of a layer that is not fused fit their widths.

    Args:
        name: of the layer, for messages.
        weight: by output channel first.
        bias: of the sums.
        widths: of the hardware.
    """
    _check_shifts(f"{name}: weight", weight, widths)
    sums = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1) * INPUT_MAGNITUDE
    _check_signed(f"{name}: its sum", sums + np.abs(bias.astype(np.int64)), "channel", numerics.OUTPUT_ACCUMULATOR_BITS)


def _check_pool(name: str, pool: Requantization, pixels: int) -> None:
    sums = pixels * INPUT_MAGNITUDE + np.abs(pool.bias.astype(np.int64))
    _check_signed(f"{name}: its sum", sums, "channel", numerics.OUTPUT_ACCUMULATOR_BITS)


def _check_shifts(what: str, weights: NDArray[np.integer], widths: Widths) -> None:
    """Signed powers of two; weights (output channels, ...)."""
    for weight in np.unique(weights[weights != 0]).tolist():
        shift = max(shift for _, shift in numerics.signed_powers(weight, 64))
        if shift > widths.shift_max:
            channel = int(np.argwhere(weights == weight)[0][0])
            raise ArchonError(
                f"{what} of output channel {channel} holds {weight}, which needs a shift of {shift}: a shift width of "
                f"{shift.bit_length()} bits would do, {widths.shift} are there"
            )


def _check_pairs(name: str, block: FusedBlock, bias_products: Integers) -> None:
    """A channel without W1 has no pair, so nothing could add its biases: it must not reach any output."""
    groups = len(block.expand_weight) // block.project_weight.shape[1]
    columns = block.project_weight.reshape(groups, -1, block.project_weight.shape[1])
    used = columns.any(axis=1).reshape(-1)
    biased = bias_products.any(axis=1) | (block.depthwise_bias != 0)
    wrong = np.flatnonzero(~block.expand_weight.any(axis=1) & biased & used)
    if wrong.size:
        raise ArchonError(
            f"{name}: expanded channel {wrong[0]} has biases but no W1: expected its column of W2 to be all zero, "
            "got other values; fold its constant into b3"
        )


def _check_predictor(name: str, block: FusedBlock, widths: Widths) -> None:
    low, high = PREDICTOR_INPUT_RANGE
    bits, noun = widths.predictor_sum, "expanded channel"
    expand = block.predictor_expand_weight
    plus, minus = (expand > 0).sum(axis=1), (expand < 0).sum(axis=1)
    _check_signed(f"{name}: a sum of T1", np.stack([plus * high - minus * low, plus * low - minus * high], axis=1), noun, bits)
    _check_signed(f"{name}: t1", block.predictor_expand_threshold, noun, bits)
    depthwise = block.predictor_depthwise_weight.reshape(len(expand), -1)
    sums = [numerics.LEVEL_MAX * (depthwise > 0).sum(axis=1), -numerics.LEVEL_MAX * (depthwise < 0).sum(axis=1)]
    _check_signed(f"{name}: a sum of TD", np.stack(sums, axis=1), noun, bits)
    _check_signed(f"{name}: t2", block.predictor_depthwise_threshold, noun, bits)
    largest_shift = int(block.predictor_level_shift.max(initial=0))
    if largest_shift >= 1 << widths.level_shift:
        channel = int(block.predictor_level_shift.argmax())
        raise ArchonError(
            f"{name}: the level shift of expanded channel {channel} is {largest_shift}: a width of "
            f"{largest_shift.bit_length()} bits would do, {widths.level_shift} are there"
        )


def _check_magnitudes(what: str, values: Integers, noun: str, bits: int, limit: int) -> None:
    """Symmetric range; values (channels, ...)."""
    worst = np.abs(values).reshape(len(values), -1).max(axis=1, initial=0)
    if worst.max(initial=0) > limit:
        channel, got = int(worst.argmax()), int(worst.max())
        raise ArchonError(
            f"{what} of {noun} {channel} reaches a magnitude of {got}: "
            f"{numerics.signed_bits(got)} bits would do, {bits} are there"
        )


def _check_signed(what: str, values: NDArray[np.integer], noun: str, bits: int) -> None:
    """Two's complement range; values (channels, ...)."""
    if numerics.fits_signed(values, bits):
        return
    wide = values.astype(np.int64).reshape(len(values), -1)
    worst = np.where(wide < 0, -wide - 1, wide).max(axis=1, initial=0)
    channel = int(worst.argmax())
    raise ArchonError(
        f"{what} of {noun} {channel} reaches {wide[channel][np.abs(wide[channel]).argmax()]}: "
        f"{numerics.signed_bits(int(worst[channel]))} bits would do, {bits} are there"
    )
