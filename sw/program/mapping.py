"""How the weights of a layer that is not fused lie in the lanes, and the expanded channels that load them."""

from __future__ import annotations

import math
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.taps import SMALL_CENTRE, SMALL_TAPS
from sw.program.plan import Loads
from sw.program.tables import Integers, ValueWeights


class Mapping(Enum):
    """What a lane's taps and its outputs are (hw.contract.descriptor.JOB)."""

    PIXELS = "taps are pixels of a channel, and lanes' sums are added up"
    CHANNELS = "taps are channels of a pixel, and lanes' sums are added up: `channel_taps`"
    DEPTHWISE = "taps are pixels of a channel, and each lane's sums are outputs: `depthwise`"

    @property
    def fields(self) -> dict[str, int]:
        """Of the descriptor."""
        return {"channel_taps": int(self is Mapping.CHANNELS), "depthwise": int(self is Mapping.DEPTHWISE)}


def check_places(weight: NDArray[np.int8], mapping: Mapping) -> None:
    """Raise ArchonError where a layer has weights (K, C, taps) that its mapping has no place for."""
    others = weight.copy()
    if mapping is Mapping.PIXELS:
        return
    if mapping is Mapping.CHANNELS:
        others[:, :, SMALL_CENTRE] = 0
    else:
        channels = np.arange(min(weight.shape[:2]))
        others[channels, channels] = 0
    if others.any() or (mapping is Mapping.DEPTHWISE and weight.shape[0] != weight.shape[1]):
        raise ArchonError(f"expected weights for a layer whose {mapping.value}, got others")


def lane_weights(weight: NDArray[np.int8], mapping: Mapping, lanes: int) -> Integers:
    """Weights as the lanes see them.

    Args:
        weight: (K, C, taps), by output channel, input channel and tap, all in places of the mapping.
        mapping: Of the layer.
        lanes: Of a cluster.

    Returns:
        (outputs of a lane, turns * lanes, taps), by output, turn and lane, tap.
    """
    outputs, inputs, taps = weight.shape
    if mapping is Mapping.CHANNELS:
        turns = math.ceil(inputs / (SMALL_TAPS * lanes))
        placed = np.zeros((outputs, turns * SMALL_TAPS * lanes), dtype=np.int64)
        placed[:, :inputs] = weight[:, :, SMALL_CENTRE]
        return (
            placed.reshape(outputs, turns, SMALL_TAPS, lanes).transpose(0, 1, 3, 2).reshape(outputs, turns * lanes, SMALL_TAPS)
        )
    if mapping is Mapping.DEPTHWISE:
        channels = np.arange(inputs)
        laid = np.zeros((math.ceil(inputs / lanes) * lanes, taps), dtype=np.int64)
        laid[channels] = weight[channels, channels]
        return laid.reshape(-1, lanes, taps)
    return weight.astype(np.int64)


def factorisations(weight: Integers, config: ArchonConfig) -> list[ValueWeights]:
    """Value paths whose A, if all channels survive, is `weight` (K, C, taps): that with the fewest expanded channels first."""
    found = [_by_entries(weight), _by_digits(weight, config.widths.weight - 1)]
    return sorted(found, key=lambda values: len(values.expand_weight))


def _by_entries(weight: Integers) -> ValueWeights:
    """An expanded channel for each input channel and tap: W1 and D are one-hot, W2 has the weights.

    Neighbours belong to different lanes. There is one at least, for the pixel's end.
    """
    taps, channels = np.nonzero(weight.any(axis=0).T)
    if not len(taps):
        taps = channels = np.zeros(1, dtype=np.int64)
    expanded = np.arange(len(taps))
    first, depthwise = (np.zeros((len(taps), size), dtype=np.int64) for size in weight.shape[1:])
    first[expanded, channels] = depthwise[expanded, taps] = 1
    return _without_biases(first, depthwise, weight[:, channels, taps])


def _by_digits(weight: Integers, bits: int) -> ValueWeights:
    """An expanded channel for each output channel, tap and digit of `bits` bits: W1 has the digits, W2 their place values."""
    outputs, _, taps = weight.shape
    places = range(0, numerics.ACTIVATION_BITS, bits)
    digits = np.stack([np.sign(weight) * (abs(weight) >> place & ((1 << bits) - 1)) for place in places])
    used = np.argwhere(digits.any(axis=2))
    used = used if len(used) else np.zeros((1, 3), dtype=np.int64)
    place, output, tap = used.T
    one_tap, one_output = np.eye(taps, dtype=np.int64)[tap], np.eye(outputs, dtype=np.int64)[:, output]
    return _without_biases(digits[place, output, :, tap], one_tap, one_output << np.array(places)[place])


def _without_biases(first: Integers, depthwise: Integers, project: Integers) -> ValueWeights:
    none = np.zeros(len(first), dtype=np.int64)
    return ValueWeights(first, depthwise, project, none, none)


def load_counts(values: ValueWeights, config: ArchonConfig) -> Loads:
    """What one job takes to load the accumulators: its lanes' steps, and an addition for each term and entry."""
    steps = {
        int(value): numerics.accumulation_steps(int(value), config.widths.shift_max)
        for value in np.unique(values.project_weight)
    }
    of_value = np.array([(sum(map(len, listed)), len(listed)) for listed in steps.values()], dtype=np.int64)
    terms, in_all = of_value[np.searchsorted(list(steps), values.project_weight)].sum(axis=0).T
    pairs = values.pairs.sum(axis=1)
    return Loads(int(terms @ (pairs * (values.depthwise_weight != 0).sum(axis=1))), int(in_all @ pairs))
