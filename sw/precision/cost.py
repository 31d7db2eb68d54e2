"""What an integer network needs of the hardware: widths of sums, and bits in the tables (hw.contract.tables)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hw.contract import numerics, tables
from hw.contract.config import ArchonConfig, Widths
from hw.contract.layout import Layout
from hw.contract.tables import TableKind
from sw.bundle.blocks import PointwisePair, pair_as_block
from sw.bundle.bounds import check_bounds, largest_sums
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.program.steps import list_steps
from sw.program.tables import GroupWeights, bias_owners, group_weights, slices_of, turns_of
from sw.quantize.precision import Precision
from sw.spec import BlockSpec, PointwisePairSpec

LARGEST_SHIFT = 63
VALUES = (TableKind.PAIR, TableKind.STEP, TableKind.BIAS)
"""Tables of the value path; the others are the predictor's and the requantizer's."""


@dataclass(frozen=True)
class Cost:
    """What the fused blocks of a network need."""

    widths: Widths
    """The least that its weights and sums fit, for any image."""
    rows: dict[TableKind, int]
    """Of each table, all groups and lanes together."""
    bits: dict[TableKind, int]
    """The same in bits."""
    updates: int
    """Of rows of A, a step's each, at one pixel where everything survives."""

    @property
    def value_bits(self) -> int:
        """Bits of the value path's tables."""
        return sum(self.bits[kind] for kind in VALUES)

    @property
    def table_bits(self) -> int:
        """Bits of all tables."""
        return sum(self.bits.values())


def cost_of(network: IntegerNetwork, precision: Precision, config: ArchonConfig) -> Cost:
    """Widths and tables of a network that was quantised with a precision.

    Args:
        network: with fused blocks or pairs.
        precision: W1 and D have its bits, whether they use them or not.
        config: lanes, slices, and the depths that addresses in tables are for; its widths do not matter.

    Raises:
        ArchonError: the proof that all sums fit these widths fails.
    """
    parts = list(fused_parts(network))
    widths = needed_widths([block for _, block, _ in parts], precision)
    for name, block, _ in parts:
        # It proves predictors of 4-bit inputs alone.
        check_bounds(block, name, replace(widths, predictor_sum=16))
    config = replace(config, widths=widths, kernel=max([config.kernel, *(spec.kernel for *_, spec in parts)]))
    groups = [group_weights(block, spec, group).used for _, block, spec in parts for group in range(spec.groups)]
    counted = [_rows(weights, config) for weights in groups]
    rows = {kind: sum(count[kind] for count in counted) for kind in counted[0]}
    bits = {kind: count * row_layout(kind, config, precision).width for kind, count in rows.items()}
    updates = sum(
        int(weights.pairs.sum(axis=1) @ list_steps(weights.project_weight, widths.shift_max).count) for weights in groups
    )
    return Cost(widths, rows, bits, updates)


def fused_parts(network: IntegerNetwork) -> Iterator[tuple[str, FusedBlock, BlockSpec]]:
    """Everything that is fused, pairs as the blocks that they are: name, integers, shape."""
    parts = network.parts()
    for layer in network.spec.layers:
        part = parts.get(layer.name)
        if isinstance(part, FusedBlock) and isinstance(layer.block, BlockSpec):
            yield layer.name, part, layer.block
        elif isinstance(part, PointwisePair) and isinstance(layer.block, PointwisePairSpec):
            yield layer.name, *pair_as_block(part, layer.block)


def needed_widths(blocks: list[FusedBlock], precision: Precision) -> Widths:
    """The least widths that hold blocks quantised with a precision."""
    shift = max(numerics.signed_powers(value, LARGEST_SHIFT)[0][1] for value in precision.project_magnitudes[1:])
    return Widths(
        weight=precision.widths.weight,
        shift=max(1, shift.bit_length()),
        accumulator=max(_signed(largest_sums(block)[0]) for block in blocks),
        bias_product=max(2, *(_signed(block.depthwise_weight * block.expand_bias[:, None, None]) for block in blocks)),
        bias=max(2, *(_signed(block.depthwise_bias) for block in blocks)),
        predictor_sum=max(_predictor_sum(block, precision.predictor_input) for block in blocks),
        level_shift=max(1, *(int(block.predictor_level_shift.max()).bit_length() for block in blocks)),
    )


def _signed(values: np.ndarray) -> int:
    return numerics.signed_bits(int(np.abs(values.astype(np.int64)).max(initial=0)))


def _predictor_sum(block: FusedBlock, input_bits: int) -> int:
    """Bits of all sums and thresholds of a block's predictor."""
    largest_input = -numerics.signed_range(input_bits)[0]
    reach = (
        largest_input * np.count_nonzero(block.predictor_expand_weight, axis=1),
        numerics.LEVEL_MAX * np.count_nonzero(block.predictor_depthwise_weight, axis=(1, 2)),
        block.predictor_expand_threshold,
        block.predictor_depthwise_threshold,
    )
    return max(_signed(np.asarray(values)) for values in reach)


def row_layout(kind: TableKind, config: ArchonConfig, precision: Precision) -> Layout:
    """A table's row; steps of one signed power of two do without the second."""
    layout = tables.table_layout(kind, config)
    if kind is TableKind.STEP and precision.project_bits is None and precision.project_terms == 1:
        return Layout(layout.name, tuple(item for item in layout.fields if not item.name.startswith("second")))
    return layout


def _rows(weights: GroupWeights, config: ArchonConfig) -> dict[TableKind, int]:
    """Rows of all tables of one group."""
    expanded, inputs = weights.expand_weight.shape
    slices, turned = slices_of(expanded, config), slices_of(expanded, config) * turns_of(inputs, config)
    lanes = [weights.pairs[:, lane :: config.lanes].any(axis=1) for lane in range(config.lanes)]
    steps = list_steps(weights.project_weight, config.widths.shift_max).count
    return {
        TableKind.EXPAND: turned,
        TableKind.EXPAND_THRESHOLD: slices,
        TableKind.DEPTHWISE: slices,
        TableKind.MEMBERSHIP: turned * config.lanes,
        TableKind.PAIR: int(weights.pairs.sum()),
        TableKind.STEP: int(sum(steps[lane].sum() for lane in lanes)),
        TableKind.BIAS: int((bias_owners(weights, config.lanes) >= 0).sum()),
        TableKind.REQUANTIZE: len(weights.project_weight),
    }
