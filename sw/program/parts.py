"""Fused blocks whose groups have too many outputs for a lane's memories: each group in equal parts of its outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.taps import Number
from sw.bundle.network import FusedBlock
from sw.program.tables import Words, table_segment
from sw.spec import BlockSpec

OF_OUTPUTS = ("project_weight", "requantization")
"""Members of a block that belong to outputs; the others belong to expanded channels."""


def in_parts(block: FusedBlock, spec: BlockSpec, parts: int) -> tuple[FusedBlock, BlockSpec]:
    """The block with each group as `parts` groups, neighbours, which read the same input channels for some of its outputs.

    All of them have the group's expanded channels, so that each predicts anew. The block's input is repeated as often, and its
    shape says so. Outputs keep their order before the shuffle; behind it they lie as sw.program.tables.output_channel says.
    """
    repeated: dict[str, Any] = {
        item.name: repeated_groups(getattr(block, item.name), spec.groups, parts)
        for item in dataclasses.fields(block)
        if item.name not in OF_OUTPUTS
    }
    names = ("in_channels", "expanded_channels", "groups")
    shape = spec.model_copy(update={name: parts * getattr(spec, name) for name in names})
    return dataclasses.replace(block, **repeated), shape


def fitting_parts(
    block: FusedBlock, spec: BlockSpec, plane_pixels: int, config: ArchonConfig, name: str
) -> tuple[FusedBlock, BlockSpec, int, tuple[Words, ...]]:
    """The block in the fewest parts with which its groups fit, these parts, and a table segment for each of its groups.

    Args:
        block: integer weights.
        spec: of the block.
        plane_pixels: height * width of the output.
        config: of the accelerator.
        name: of the block, for messages.

    Raises:
        ArchonError: a group does not fit, not even for a single output.
    """
    outputs, refused = spec.out_channels // spec.groups, ArchonError("")
    for parts in (count for count in range(1, outputs + 1) if outputs % count == 0):
        cut, shape = in_parts(block, spec, parts)
        try:
            segments = [table_segment(cut, shape, group, plane_pixels, config, name, parts) for group in range(shape.groups)]
        except ArchonError as error:
            refused = error
        else:
            return cut, shape, parts, tuple(segments)
    raise refused


def repeated_groups(rows: NDArray[Number], groups: int, parts: int) -> NDArray[Number]:
    """(rows, ...), group by group, with each group's rows `parts` times."""
    return np.repeat(rows.reshape(groups, -1, *rows.shape[1:]), parts, axis=0).reshape(-1, *rows.shape[1:])
