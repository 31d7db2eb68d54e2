"""What an exported network looks like, layer by layer."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from hw.contract import numerics
from hw.contract.config import Widths
from sw.bundle.network import FusedBlock
from sw.quantize.network import Quantized
from sw.quantize.value_path import largest_sums
from sw.spec import BlockSpec


def layer_table(quantized: Quantized, widths: Widths) -> Table:
    """One row a block: shape, non-zero weights, widths used out of those there, survivors on the calibration images."""
    table = Table(title=f"{quantized.network.spec.name}: fused blocks")
    table.add_column("block")
    table.add_column("shape")
    for heading in ("W1 non-zero", "D non-zero", "W2 non-zero", "steps a weight", "A bits", "y bits"):
        table.add_column(heading, justify="right")
    for heading in ("survivors 1st", "survivors 2nd", "constant channels"):
        table.add_column(heading, justify="right")
    for block, spec, report in zip(quantized.network.blocks, quantized.network.spec.blocks, quantized.blocks, strict=True):
        entry, total = (int(bound.max()) for bound in largest_sums(block))
        total += int(np.abs(block.requantization.bias.astype(np.int64)).max())
        table.add_row(
            report.name,
            _shape(spec),
            *(_share(weight) for weight in (block.expand_weight, block.depthwise_weight, block.project_weight)),
            f"{_steps_a_weight(block, widths):.2f}",
            f"{numerics.signed_bits(entry)} / {widths.accumulator}",
            f"{numerics.signed_bits(total)} / {numerics.OUTPUT_ACCUMULATOR_BITS}",
            f"{report.survivors_first:.3f}",
            f"{report.survivors_second:.3f}",
            f"{report.constant_exact} exact, {report.constant_interior} interior",
        )
    return table


def _shape(spec: BlockSpec) -> str:
    parts = [f"{spec.in_channels} > {spec.expanded_channels} > {spec.out_channels}"]
    parts += [f"/ {spec.groups}"] if spec.groups > 1 else []
    parts += ["stride 2"] if spec.stride == 2 else []
    parts += ["residual"] if spec.residual else []
    return " ".join(parts)


def _share(weight: np.ndarray) -> str:
    kept = np.count_nonzero(weight)
    return f"{kept} ({100 * kept / weight.size:.0f} %)"


def _steps_a_weight(block: FusedBlock, widths: Widths) -> float:
    values, counts = np.unique(block.project_weight[block.project_weight != 0], return_counts=True)
    terms = [len(numerics.signed_powers(int(value), widths.shift_max)) for value in values]
    return float(np.dot(terms, counts) / max(1, counts.sum()))
