"""Rows of the on-chip tables and the table segments in external memory that they are made of.

A group's E/G expanded channels are cut into slices of P = slice_channels (the last one padded with channels that
never survive). A cluster's lane l owns input channel t * L + l of the group in turn t = 0..turns-1, L = lanes.

A table segment is a sequence of sections, one SECTION_HEADER each:

- Of a table that lanes share, then `rows` rows of `words` words from row 0 on, as they lie on chip.
- Of kind LANES, then `rows` slices, from which the lanes' own tables are made. A slice is

  1. for each of its P channels e: a channel_record; with has_bias a bias_record; then step_count step rows. The steps are
     appended to the STEP tables of every lane of the record's mask: a lane has one for each of its adder rows, and a step
     belongs to row `output` modulo adder_rows.
  2. for each turn: a members_record, then one weight W1[e,c] for each set bit, lanes ascending and within a lane channels
     ascending. Its lanes' bits are appended to the MEMBERSHIP tables, a row a turn, and each weight, with the channel's
     record, makes the next row of its lane's PAIR table; the first one in lane `owner` of a channel with biases makes the
     next row of the lane's BIAS table as well.

Records begin with a new word. Steps lie step_row.per_word a word, weights weight_record.per_word, across channels, turns and
slices: a word comes where the first of its rows is due, and the rows due after that are taken from it. Behind the last one a
section ends. What several lanes or pairs have in common is thus stored once.

Taps are numbered as hw.contract.taps.tap_places says. Where the hardware's kernel is larger than a job's, channel_record and
depthwise_row are those of the job's kernel, and the other taps have no weights.

A layer that is not fused is a block whose expanded channels stand for its weights (descriptor.JOB, `fixed`), such that with all
masks set A holds the weights, and without biases. Input channels, taps and output channels of the tables are what lanes take
for them: with channel_taps tap d of the input channel t * L + l is the job's input channel (9 t + d) * L + l, with depthwise
output channel j of the input channel l is the job's output j * L + l.
Its segment has the sections LANES and REQUANTIZE alone.
"""

from __future__ import annotations

from enum import IntEnum

from hw.contract import numerics
from hw.contract.config import ADDRESS_BITS, ArchonConfig, index_bits
from hw.contract.layout import Field, Layout


class TableKind(IntEnum):
    """An on-chip table, or what a section of a table segment fills."""

    LANES = 0
    EXPAND = 1
    EXPAND_THRESHOLD = 2
    DEPTHWISE = 3
    MEMBERSHIP = 4
    PAIR = 5
    STEP = 6
    REQUANTIZE = 7
    BIAS = 8


PER_LANE = (TableKind.MEMBERSHIP, TableKind.PAIR, TableKind.BIAS, TableKind.STEP)
"""Tables of which every lane has its own: a section of kind LANES fills them all."""

SHARED = (TableKind.EXPAND, TableKind.EXPAND_THRESHOLD, TableKind.DEPTHWISE, TableKind.REQUANTIZE)
"""Tables that have a section each."""

SECTION_HEADER = Layout("section_header", (Field("kind", 4), Field("words", 8), Field("rows", 16)))
"""One word; `words` counts only in sections of shared tables."""

TERNARY_BITS = 2
"""A ternary weight as a signed number: -1, 0 or 1."""


def expand_row(config: ArchonConfig) -> Layout:
    """T1 of one slice and turn: weights[p * lanes + lane]; row index = slice * turns + turn."""
    return Layout("expand", (Field("weights", TERNARY_BITS, signed=True, count=config.slice_channels * config.lanes),))


def expand_threshold_row(config: ArchonConfig) -> Layout:
    """Thresholds and level shifts of the first predictor layer for one slice; row index = slice."""
    channels, widths = config.slice_channels, config.widths
    return Layout(
        "expand_threshold",
        (
            Field("thresholds", widths.predictor_sum, signed=True, count=channels),
            Field("shifts", widths.level_shift, count=channels),
        ),
    )


def depthwise_row(config: ArchonConfig, kernel: int | None = None) -> Layout:
    """Thresholds of the second predictor layer and TD (weights[tap * P + p]) for one slice; row index = slice.

    Of a job with the kernel `kernel`, the hardware's when left out. A row of a smaller kernel is the beginning of one of a
    larger kernel, and so is a row's words in a segment.
    """
    channels, widths = config.slice_channels, config.widths
    return Layout(
        "depthwise",
        (
            Field("thresholds", widths.predictor_sum, signed=True, count=channels),
            Field("weights", TERNARY_BITS, signed=True, count=channels * (kernel or config.kernel) ** 2),
        ),
    )


def membership_row(config: ArchonConfig) -> Layout:
    """Bit p: the lane has a pair for channel p of this slice in this turn; row index = slice * turns + turn.

    Pairs are numbered in the order of the set bits: rows ascending, within a row from bit 0 up.
    """
    return Layout("membership", (Field("members", config.slice_channels),))


STEP_COUNT_BITS = 9
"""Steps of one pair: 1..511."""


def adder_row_bits(config: ArchonConfig) -> int:
    """Low bits of an output channel that are the number of its adder row; the others are its place in that row."""
    return config.adder_rows.bit_length() - 1


def pair_row(config: ArchonConfig) -> Layout:
    """One (expanded channel e, input channel c): products[d] = D[e,d] * W1[e,c], and where each adder row has its steps.

    `accumulator_base` = turn * output channels of an adder row (config.part_of_row). One pair of every expanded channel with
    biases owns them: owns_bias = 1, and they are row `bias_row` of the lane's BIAS table; in other pairs both are 0.
    """
    depths = config.depths
    return Layout(
        "pair",
        (
            Field("products", config.widths.product, signed=True, count=config.taps),
            Field("accumulator_base", index_bits(config.part_of_row(depths.accumulator))),
            Field("step_start", index_bits(config.part_of_row(depths.step)), count=config.adder_rows),
            Field("step_count", STEP_COUNT_BITS, count=config.adder_rows),
            Field("owns_bias", 1),
            Field("bias_row", index_bits(depths.bias)),
        ),
    )


def bias_row(config: ArchonConfig) -> Layout:
    """Biases of one expanded channel e: products[d] = D[e,d] * b1[e], bias = b2[e]. Rows are in the order of their pairs."""
    widths = config.widths
    return Layout(
        "bias",
        (
            Field("products", widths.bias_product, signed=True, count=config.taps),
            Field("bias", widths.bias, signed=True),
        ),
    )


def step_row(config: ArchonConfig) -> Layout:
    """One or two terms of a weight of W2, for all taps at once.

    A[output, c, :] += (-1)**negative * 2**shift * products[:], and where `second` is set, A[output, c, :] +=
    (-1)**second_negative * 2**second_shift * products[:].
    """
    return Layout(
        "step",
        (
            Field("output", index_bits(config.depths.output)),
            Field("negative", 1),
            Field("shift", config.widths.shift),
            Field("second", 1),
            Field("second_negative", 1),
            Field("second_shift", config.widths.shift),
        ),
    )


def channel_record(config: ArchonConfig, kernel: int | None = None) -> Layout:
    """An expanded channel e: which lanes have pairs of it, how many steps W2's column has, D[e, :].

    Channels without pairs (and padding) have no lanes and no steps. Of a job with the kernel `kernel`, as in depthwise_row.
    """
    return Layout(
        "channel",
        (
            Field("lanes", config.lanes),
            Field("step_count", STEP_COUNT_BITS),
            Field("has_bias", 1),
            Field("weights", config.widths.weight, signed=True, count=(kernel or config.kernel) ** 2),
        ),
    )


def bias_record(config: ArchonConfig) -> Layout:
    """b1[e] and b2[e]; the first pair of e in lane `owner` gets them."""
    return Layout(
        "channel_bias",
        (
            Field("owner", index_bits(config.lanes)),
            Field("expand_bias", config.widths.bias_product, signed=True),
            Field("bias", config.widths.bias, signed=True),
        ),
    )


def members_record(config: ArchonConfig) -> Layout:
    """The membership rows of all lanes for one slice and turn."""
    return Layout("members", (Field("members", config.slice_channels, count=config.lanes),))


def weight_record(config: ArchonConfig) -> Layout:
    """W1 of one pair."""
    return Layout("weight", (Field("weight", config.widths.weight, signed=True),))


REQUANTIZE_ROW = Layout(
    "requantize",
    (
        Field("bias", numerics.OUTPUT_ACCUMULATOR_BITS, signed=True),
        Field("multiplier", numerics.MULTIPLIER_BITS),
        Field("shift", 6),
        Field("byte", 3),
        Field("plane", ADDRESS_BITS),
    ),
)
"""One output channel k of the group. The shuffle is in the address: the activation goes to byte `byte` of word
output_address + plane + pixel, with channel o = k * G + g (shuffled) or g * K/G + k: byte = o % 8, plane = (o // 8) * H * W.
Of a raw output the four bytes lie as channels 4 o .. 4 o + 3 would."""

GATE_BYTE = REQUANTIZE_ROW.offsets["multiplier"] // numerics.ACTIVATION_BITS
"""Byte of a REQUANTIZE row, in its first word, that is the low part of the multiplier. A channel is multiplied by a gate that a
job has computed (squeeze-and-excite) when that job writes the gate, an activation from 0 up, there; the multiplier is 0 before,
and the job that reads the row has late_tables."""


def table_layout(kind: TableKind, config: ArchonConfig, kernel: int | None = None) -> Layout:
    """The row layout of a table; in segments of jobs with a smaller kernel than the hardware's, `kernel` says which."""
    if kind is TableKind.REQUANTIZE:
        return REQUANTIZE_ROW
    if kind is TableKind.DEPTHWISE:
        return depthwise_row(config, kernel)
    builders = {
        TableKind.EXPAND: expand_row,
        TableKind.EXPAND_THRESHOLD: expand_threshold_row,
        TableKind.MEMBERSHIP: membership_row,
        TableKind.PAIR: pair_row,
        TableKind.BIAS: bias_row,
        TableKind.STEP: step_row,
    }
    return builders[kind](config)


def table_depth(kind: TableKind, config: ArchonConfig) -> int:
    """Rows that a table has room for in each half of its memory: one is the running job's, the other the next job's.

    Of the STEP table: of each adder row.
    """
    depths = config.depths
    return {
        TableKind.EXPAND: depths.turned_slices,
        TableKind.EXPAND_THRESHOLD: depths.slices,
        TableKind.DEPTHWISE: depths.slices,
        TableKind.MEMBERSHIP: depths.turned_slices,
        TableKind.PAIR: depths.pair,
        TableKind.BIAS: depths.bias,
        TableKind.STEP: config.part_of_row(depths.step),
        TableKind.REQUANTIZE: depths.output,
    }[kind]
