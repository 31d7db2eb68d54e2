"""What an exported network looks like, layer by layer."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.table import Table

from hw.contract import numerics
from hw.contract.config import Widths
from sw.bundle.blocks import pair_as_block
from sw.bundle.bounds import largest_sums
from sw.bundle.network import FusedBlock, PointwisePair
from sw.quantize.network import Quantized
from sw.spec import BlockSpec, PointwisePairSpec


def layer_table(quantized: Quantized, widths: Widths) -> Table:
    """One row a fused block or pair of pointwise layers.

    Shape, non-zero weights, widths used out of those there, survivors on the calibration images.
    """
    table = Table(
        title=f"{quantized.network.spec.name}: fused blocks", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for heading in ("block", "C>E>K groups"):
        table.add_column(heading, no_wrap=True)
    for heading in ("non-zero\nW1 D W2 %", "steps\nper W2", "A\nbits", "y\nbits", "survivors\n1st 2nd", "const."):
        table.add_column(heading, justify="right", no_wrap=True)
    network, reports = quantized.network, {report.name: report for report in quantized.blocks}
    parts = network.parts()
    for layer in network.spec.layers:
        part, spec = parts.get(layer.name), layer.block
        if isinstance(part, FusedBlock) and isinstance(spec, BlockSpec):
            block, shape = part, spec
        elif isinstance(part, PointwisePair) and isinstance(spec, PointwisePairSpec):
            block, shape = pair_as_block(part, spec)
        else:
            continue
        report = reports[layer.name]
        entry, total = (int(bound.max()) for bound in largest_sums(block))
        weights = (block.expand_weight, block.depthwise_weight, block.project_weight)
        table.add_row(
            report.name,
            _shape(shape),
            " ".join(f"{100 * np.count_nonzero(weight) / weight.size:2.0f}" for weight in weights),
            f"{_steps_a_weight(block, widths):.2f}",
            f"{numerics.signed_bits(entry)}/{widths.accumulator}",
            f"{numerics.signed_bits(total)}/{numerics.OUTPUT_ACCUMULATOR_BITS}",
            f"{report.survivors_first:.2f} {report.survivors_second:.2f}",
            f"{report.constant_exact}+{report.constant_interior}",
        )
    table.caption = "r residual, s2 stride 2; const.: without W1, folded exactly + but for borders"
    return table


def _shape(spec: BlockSpec) -> str:
    flags = ("" if spec.stride == 1 else " s2") + (" r" if spec.residual else "")
    return f"{spec.in_channels}>{spec.expanded_channels}>{spec.out_channels} {spec.groups}{flags}"


def _steps_a_weight(block: FusedBlock, widths: Widths) -> float:
    values, counts = np.unique(block.project_weight[block.project_weight != 0], return_counts=True)
    terms = [len(numerics.signed_powers(int(value), widths.shift_max)) for value in values]
    return float(np.dot(terms, counts) / max(1, counts.sum()))
