"""A knob on a finished network: thresholds of its predictors raised, so that fewer activations survive, without training."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle.network import AnyBlock, ExcitedBlock, FusedBlock, IntegerNetwork, PointwisePairBlock
from sw.spec import NetworkSpec

GOLDEN_RATIO = (1 + 5**0.5) / 2
"""Its multiples, modulo 1, fill the interval evenly wherever one stops (Weyl's sequence)."""

RAISED = "thresholds_raised"
"""In a bundle's provenance: by how much, one time after the other."""

ACCURACY = "accuracy"
"""In a bundle's provenance: of the network as it was trained."""


def raised(network: IntegerNetwork, first: float, second: float) -> IntegerNetwork:
    """The network with the thresholds of all predictors raised; a negative number lowers them.

    One level can be much: sums of a few ternary weights and 4-bit inputs are small integers. Of fractions see `_added`.

    Args:
        network: in integers, with predictors.
        first: of the first ReLU, in levels of r1 (2**shift of its channel, which for a pair of pointwise layers is 1).
        second: of the second ReLU, in levels of r1 as well: the unit of its sum. Pairs do not predict it.

    Returns:
        The same weights; thresholds saturate at the width that the hardware has for them. Its provenance says by how much they
        were raised, and no accuracy: that was the other network's.

    Raises:
        ArchonError: not finite, or nothing in the network is predicted that would change.
    """
    check_raise(network.spec, first, second)
    blocks = tuple(_block(block, first, second) for block in network.blocks)
    kept = {name: text for name, text in network.provenance.items() if name not in {ACCURACY, RAISED}}
    before = [network.provenance[RAISED]] if RAISED in network.provenance else []
    said = "; then ".join([*before, f"{first:g} first, {second:g} second, in levels of r1"])
    return network.replaced(blocks=blocks, provenance=kept | {RAISED: said})


def check_raise(spec: NetworkSpec, first: float, second: float) -> None:
    """Refuse to raise thresholds in a way that is none, or has no effect.

    Raises:
        ArchonError: not finite, both 0, or nothing in the network is predicted that would change.
    """
    if not np.isfinite([first, second]).all():
        raise ArchonError(f"thresholds: expected finite numbers to raise them by, got {first} and {second}")
    if not spec.predicts:
        raise ArchonError(f"{spec.name}: expected a network with predictors, got one without")
    if (first, second) == (0, 0):
        raise ArchonError("thresholds: expected a number other than 0 to raise the first or the second ReLU's by, got neither")
    if second and not any(block.kind == "fused" for block in spec.blocks):
        raise ArchonError(f"thresholds: expected 0 for the second ReLU, which is exact in {spec.name}, got {second:g}")


def _block(block: AnyBlock, first: float, second: float) -> AnyBlock:
    if isinstance(block, ExcitedBlock):
        return dataclasses.replace(block, fused=_fused(block.fused, first, second))
    if isinstance(block, PointwisePairBlock):
        thresholds = _added(block.pair.predictor_expand_threshold, np.asarray(first))
        return dataclasses.replace(block, pair=dataclasses.replace(block.pair, predictor_expand_threshold=thresholds))
    return _fused(block, first, second) if isinstance(block, FusedBlock) else block


def _fused(block: FusedBlock, first: float, second: float) -> FusedBlock:
    levels = np.exp2(block.predictor_level_shift.astype(np.float64))
    return dataclasses.replace(
        block,
        predictor_expand_threshold=_added(block.predictor_expand_threshold, first * levels),
        predictor_depthwise_threshold=_added(block.predictor_depthwise_threshold, np.asarray(second)),
    )


def _added(thresholds: NDArray[np.int32], amount: NDArray[np.float64]) -> NDArray[np.int32]:
    """Thresholds are integers: of an amount's fraction, as large a share of the channels, evenly spread, gets one more."""
    spread = np.arange(len(thresholds)) * GOLDEN_RATIO % 1
    added = thresholds + np.floor(amount + spread).astype(np.int64)
    return numerics.saturate(added, Widths().predictor_sum).astype(np.int32)
