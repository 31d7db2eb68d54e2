"""Table segments: what one cluster's memories hold while it runs one job.

The rows and their order are defined in hw.contract.tables; this module fills them from integer weights.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics, tables
from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.layout import Layout
from hw.contract.tables import TableKind
from hw.contract.taps import in_tap_order
from sw.bundle.network import FusedBlock, Requantization
from sw.program.steps import Steps, list_steps
from sw.spec import BlockSpec

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ValueWeights:
    """One group's value path, symbols as in sw.bundle.network: E, C and K count the channels of the group only."""

    expand_weight: Integers
    """W1 (E, C)."""
    depthwise_weight: Integers
    """D (E, taps), taps as hw.contract.taps.tap_places numbers them."""
    project_weight: Integers
    """W2 (K, E)."""
    expand_bias: Integers
    """b1 (E,)."""
    depthwise_bias: Integers
    """b2 (E,)."""

    @property
    def kernel(self) -> int:
        """Kernel size."""
        return math.isqrt(self.depthwise_weight.shape[1])

    @property
    def pairs(self) -> NDArray[np.bool_]:
        """(E, C): where a pair exists, W1 non-zero and any W2 of the expanded channel non-zero."""
        used = np.asarray(self.project_weight.any(axis=0))
        return (self.expand_weight != 0) & used[:, None]

    @property
    def used_channels(self) -> Integers:
        """Expanded channels that have pairs, or the first one, for a pixel's end. Others add nothing and are left out."""
        used = np.flatnonzero(self.pairs.any(axis=1))
        return used if len(used) else np.zeros(1, dtype=np.int64)

    @property
    def bias_products(self) -> Integers:
        """D * b1, (E, taps)."""
        return self.depthwise_weight * self.expand_bias[:, None]


@dataclass(frozen=True)
class GroupWeights(ValueWeights):
    """One group of a fused block: its value path and its predictor."""

    predictor_expand_weight: Integers
    """T1 (E, C)."""
    predictor_expand_threshold: Integers
    predictor_level_shift: Integers
    predictor_depthwise_weight: Integers
    """TD (E, taps)."""
    predictor_depthwise_threshold: Integers

    @property
    def used(self) -> GroupWeights:
        """Those of `used_channels` alone, of which the tables are made."""
        used = self.used_channels
        by_channel = {
            item.name: getattr(self, item.name)[used] for item in dataclasses.fields(self) if item.name != "project_weight"
        }
        return GroupWeights(project_weight=self.project_weight[:, used], **by_channel)


def group_weights(block: FusedBlock, spec: BlockSpec, group: int) -> GroupWeights:
    """The rows of `group` (0..groups-1) of a block, widened to int64."""
    expanded, outputs = spec.expanded_channels // spec.groups, spec.out_channels // spec.groups
    rows = slice(group * expanded, (group + 1) * expanded)

    def part(array: NDArray[np.integer]) -> Integers:
        return array[rows].astype(np.int64)

    return GroupWeights(
        expand_weight=part(block.expand_weight),
        depthwise_weight=in_tap_order(part(block.depthwise_weight)),
        project_weight=block.project_weight[group * outputs : (group + 1) * outputs].astype(np.int64),
        expand_bias=part(block.expand_bias),
        depthwise_bias=part(block.depthwise_bias),
        predictor_expand_weight=part(block.predictor_expand_weight),
        predictor_expand_threshold=part(block.predictor_expand_threshold),
        predictor_level_shift=part(block.predictor_level_shift),
        predictor_depthwise_weight=in_tap_order(part(block.predictor_depthwise_weight)),
        predictor_depthwise_threshold=part(block.predictor_depthwise_threshold),
    )


def turns_of(channels: int, config: ArchonConfig) -> int:
    """Input channels of a group that each lane owns, one a turn."""
    return -(-channels // config.lanes)


def slices_of(expanded: int, config: ArchonConfig) -> int:
    """Slices that a group's expanded channels are cut into."""
    return -(-expanded // config.slice_channels)


def table_segment(
    block: FusedBlock, spec: BlockSpec, group: int, plane_pixels: int, config: ArchonConfig, name: str, parts: int = 1
) -> Words:
    """The table segment of one group (hw.contract.tables), of the channels that are used: shared tables, then the lanes'.

    Args:
        block: integer weights.
        spec: shape of the block.
        group: 0..groups-1.
        plane_pixels: height * width of the output.
        config: widths, depths, lanes and slice size of the hardware.
        name: name of the block, for messages.
        parts: neighbouring groups that are parts of the outputs of one (sw.program.parts).

    Returns:
        uint64 words.

    Raises:
        ArchonError: a table needs more rows than the configuration has, or a value does not fit its field.
    """
    weights = group_weights(block, spec, group).used
    try:
        check_depth("requantize", spec.out_channels // spec.groups, tables.table_depth(TableKind.REQUANTIZE, config))
        shared = [*_shared_sections(weights, config)]
        for kind, rows in shared:
            check_depth(kind.name.lower(), len(rows), tables.table_depth(kind, config))
        check_lane_depths(weights, config)
        lanes = lane_section(weights, config)
    except ArchonError as error:
        raise ArchonError(f"{name}, group {group // parts}: {error}") from error
    sections = [part for kind, rows in shared for part in (_header(kind, *rows.shape), rows.reshape(-1))]
    outputs = spec.out_channels // spec.groups
    requantization = block.requantization.part(slice(group * outputs, (group + 1) * outputs))
    channels = output_channel(spec, group, parts)
    return np.concatenate([*sections, requantize_section(requantization, channels, plane_pixels), lanes])


def check_depth(memory: str, needed: int, available: int) -> None:
    """Raise ArchonError naming the memory when more rows are needed than there are."""
    if needed > available:
        raise ArchonError(f"{memory} memory needs {needed} rows, the configuration has {available}")


def _header(kind: TableKind, rows: int, words: int) -> Words:
    return tables.SECTION_HEADER.pack_rows({"kind": [kind], "words": [words], "rows": [rows]})[0]


def _sliced(values: Integers, slices: int, channels: int, padding: int) -> Integers:
    """(E, ...) to (slices, channels, ...), padded behind with `padding`."""
    padded = np.full((slices * channels, *values.shape[1:]), padding, dtype=np.int64)
    padded[: len(values)] = values
    return padded.reshape(slices, channels, *values.shape[1:])


def _turned(values: Integers, turns: int, config: ArchonConfig) -> Integers:
    """(E, C) to (slices, channels, turns, lanes), padded with zeros."""
    padded = np.zeros((len(values), turns * config.lanes), dtype=np.int64)
    padded[:, : values.shape[1]] = values
    sliced = _sliced(padded, slices_of(len(values), config), config.slice_channels, 0)
    return sliced.reshape(*sliced.shape[:2], turns, config.lanes)


def _shared_sections(weights: GroupWeights, config: ArchonConfig) -> Iterator[tuple[TableKind, Words]]:
    """The predictor's tables."""
    expanded, inputs = weights.expand_weight.shape
    slices, channels, turns = slices_of(expanded, config), config.slice_channels, turns_of(inputs, config)
    never = numerics.signed_range(config.widths.predictor_sum)[1]
    ternary = _turned(weights.predictor_expand_weight, turns, config).transpose(0, 2, 1, 3)
    yield TableKind.EXPAND, tables.expand_row(config).pack_rows({"weights": ternary.reshape(slices * turns, -1)})
    yield (
        TableKind.EXPAND_THRESHOLD,
        tables.expand_threshold_row(config).pack_rows(
            {
                "thresholds": _sliced(weights.predictor_expand_threshold, slices, channels, never),
                "shifts": _sliced(weights.predictor_level_shift, slices, channels, 0),
            }
        ),
    )
    windows = _sliced(weights.predictor_depthwise_weight, slices, channels, 0).transpose(0, 2, 1)
    yield (
        TableKind.DEPTHWISE,
        tables.depthwise_row(config, weights.kernel).pack_rows(
            {
                "weights": windows.reshape(slices, -1),
                "thresholds": _sliced(weights.predictor_depthwise_threshold, slices, channels, never),
            }
        ),
    )


def lane_section(weights: ValueWeights, config: ArchonConfig) -> Words:
    """The section of kind LANES, which MEMBERSHIP, PAIR and STEP of every lane are made of.

    Raises:
        ArchonError: a value does not fit its field.
    """
    steps = list_steps(weights.project_weight, config.widths.shift_max)
    turns, in_lane = turns_of(weights.expand_weight.shape[1], config), _pairs_in_lanes(weights, config)
    expanded, channels = len(weights.expand_weight), config.slice_channels
    occurs = in_lane.any(axis=2).reshape(-1, config.lanes)
    records = _channel_words(weights, steps, occurs[:expanded], config)
    records += [np.zeros(tables.channel_record(config, weights.kernel).words, dtype=np.uint64)] * (len(occurs) - expanded)
    powers = 1 << np.arange(channels)
    members = tables.members_record(config).pack_rows(
        {"members": np.tensordot(in_lane, powers, (1, 0)).reshape(-1, config.lanes)}
    )
    # (slices, turns, lanes, channels): the order of the weights
    exists, turned = (array.transpose(0, 2, 3, 1) for array in (in_lane != 0, _turned(weights.expand_weight, turns, config)))
    layout = tables.weight_record(config)
    packed = layout.pack_rows({"weight": turned.reshape(-1)}).reshape(*turned.shape, 1)
    weights_due = _words_due(layout, packed[exists], exists.sum(axis=(2, 3)).reshape(-1))
    slices = []
    for index in range(len(in_lane)):
        parts = records[index * channels : (index + 1) * channels]
        for row in range(index * turns, (index + 1) * turns):
            parts += [members[row], weights_due[row]]
        slices.append(np.concatenate(parts))
    return np.concatenate([_header(TableKind.LANES, len(slices), 0), *slices])


def _pairs_in_lanes(weights: ValueWeights, config: ArchonConfig) -> Integers:
    """1 where there is a pair: (slices, channels, turns, lanes)."""
    return _turned(weights.pairs.astype(np.int64), turns_of(weights.expand_weight.shape[1], config), config)


def check_lane_depths(weights: ValueWeights, config: ArchonConfig) -> None:
    """Raise ArchonError where a lane's tables or accumulators are too small."""
    steps = list_steps(weights.project_weight, config.widths.shift_max)
    step_count, adder_rows = steps.count, config.adder_rows
    most = step_count.max(initial=0)
    if most >= 1 << tables.STEP_COUNT_BITS:
        limit = (1 << tables.STEP_COUNT_BITS) - 1
        raise ArchonError(f"expanded channel {step_count.argmax()}: at most {limit} steps fit, got {most}")
    in_lane = _pairs_in_lanes(weights, config)
    occurs = in_lane.any(axis=2).reshape(-1, config.lanes)[: len(step_count)]
    slices, _, turns, _ = in_lane.shape
    # Adder rows have equal parts of these two memories: what the fullest one needs, each of them gets.
    check_depth("accumulator", turns * config.part_of_row(len(weights.project_weight)) * adder_rows, config.depths.accumulator)
    check_depth("step", int((steps.of_adder_rows(adder_rows) @ occurs).max(initial=0)) * adder_rows, config.depths.step)
    check_depth("membership", slices * turns, config.depths.turned_slices)
    check_depth("pair", int(in_lane.sum(axis=(0, 1, 2)).max()), config.depths.pair)
    owners = bias_owners(weights, config.lanes)
    check_depth("bias", int(np.bincount(owners[owners >= 0]).max(initial=0)), config.depths.bias)


def _channel_words(weights: ValueWeights, steps: Steps, occurs: NDArray[np.bool_], config: ArchonConfig) -> list[Words]:
    """Channel record, bias record and steps of every expanded channel; nothing but the record for one without pairs."""
    used = np.asarray(occurs.any(axis=1))
    owner = bias_owners(weights, config.lanes)
    records = tables.channel_record(config, weights.kernel).pack_rows(
        {
            "weights": weights.depthwise_weight * used[:, None],
            "lanes": occurs @ (1 << np.arange(config.lanes)),
            "step_count": steps.count * used,
            "has_bias": owner >= 0,
        }
    )
    biases = tables.bias_record(config).pack_rows(
        {
            "owner": np.maximum(owner, 0),
            "expand_bias": weights.expand_bias * (owner >= 0) * weights.depthwise_weight.any(axis=1),
            "bias": weights.depthwise_bias * (owner >= 0),
        }
    )
    _check_products(weights, owner, config)
    layout = tables.step_row(config)
    steps_due = _words_due(layout, layout.pack_rows(steps.columns)[used[steps.expanded]], steps.count * used)
    words = []
    for channel in range(len(used)):
        biases_due = [biases[channel]] if owner[channel] >= 0 else []
        words.append(np.concatenate([records[channel], *biases_due, steps_due[channel]]))
    return words


def _words_due(layout: Layout, rows: Words, counts: Integers) -> list[Words]:
    """Packed rows (rows, 1) as words, for each part of so many rows those that come with it: where their first row is due."""
    words, edges = layout.side_by_side(rows), -(-np.cumsum([0, *counts]) // layout.per_word)
    return [words[first:behind] for first, behind in itertools.pairwise(edges)]


def _check_products(weights: ValueWeights, owner: Integers, config: ArchonConfig) -> None:
    """Raise ArchonError where a product that the loader computes does not fit the pair table."""
    columns = {
        "products": (weights.depthwise_weight[:, None] * weights.expand_weight[:, :, None], config.widths.product),
        "bias_products": (weights.bias_products[owner >= 0], config.widths.bias_product),
    }
    for name, (values, bits) in columns.items():
        low, high = numerics.signed_range(bits)
        worst = max(values.min(initial=0), values.max(initial=0), key=lambda value: max(value - high, low - value))
        if not low <= worst <= high:
            raise ArchonError(f"layout pair.{name} holds {low}..{high}, got {worst}")


def bias_owners(weights: ValueWeights, lanes: int) -> Integers:
    """(E,): the lane whose first pair of the expanded channel adds its biases; -1 where there is nothing to add.

    The lane with the fewest owners so far takes the next one, so that no lane does most of the bias additions.
    """
    expanded, inputs = weights.expand_weight.shape
    occurs = np.zeros((expanded, lanes), dtype=bool)
    for channel in range(inputs):
        occurs[:, channel % lanes] |= weights.pairs[:, channel]
    needed = (weights.bias_products.any(axis=1) | (weights.depthwise_bias != 0)) & occurs.any(axis=1)
    owner, load = np.full(expanded, -1, dtype=np.int64), [0] * lanes
    for channel in np.flatnonzero(needed).tolist():
        lane = min(np.flatnonzero(occurs[channel]).tolist(), key=load.__getitem__)
        owner[channel] = lane
        load[lane] += 1
    return owner


def output_channel(spec: BlockSpec, group: int, parts: int = 1) -> Integers:
    """Channel of the block's output that the group's k-th output becomes, (K/G,): the shuffle. `parts` as of table_segment."""
    outputs, (whole, part) = spec.out_channels // spec.groups, divmod(group, parts)
    k = part * outputs + np.arange(outputs, dtype=np.int64)
    return k * (spec.groups // parts) + whole if spec.shuffle else whole * parts * outputs + k


REQUANTIZE_WORDS = tables.REQUANTIZE_ROW.words


def requantize_section(
    requantization: Requantization, channels: Integers, plane_pixels: int, gate_rows: Integers | None = None
) -> Words:
    """The section of kind REQUANTIZE: its header, then a row an output channel.

    Args:
        requantization: Of the job's output channels.
        channels: Which channels of the layer's output they are.
        plane_pixels: height * width of the output.
        gate_rows: Where the outputs are gates: words from the output's address to the row that takes each channel's.
    """
    byte, plane = channels % CHANNELS_PER_WORD, channels // CHANNELS_PER_WORD * plane_pixels
    if gate_rows is not None:
        byte, plane = np.full(len(channels), tables.GATE_BYTE), gate_rows
    rows = tables.REQUANTIZE_ROW.pack_rows(
        {
            "bias": requantization.bias.astype(np.int64),
            "multiplier": requantization.multiplier.astype(np.int64),
            "shift": requantization.shift.astype(np.int64),
            "byte": byte,
            "plane": plane,
        }
    )
    return np.concatenate([_header(TableKind.REQUANTIZE, *rows.shape), rows.reshape(-1)])
