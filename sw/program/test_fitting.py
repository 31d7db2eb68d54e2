"""What does not fit the memories is refused by name, with the depth that would do."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from hw.contract.config import ArchonConfig, preset
from hw.contract.errors import ArchonError
from sw.bundle.network import DenseLayer
from sw.program import PlacedBlock, build_image
from sw.program.blocks import block_jobs
from sw.program.network import depthwise_layer
from sw.program.tables import slices_of
from sw.program.test_fixed import requantization
from sw.program.test_tables import WIDE, make_block, make_spec, with_depth
from sw.spec import load_spec


@pytest.mark.parametrize(
    ("memory", "field", "depth"),
    [
        ("activation", "activation", 14),
        ("row store", "row_store", 5),
        ("expand", "turned_slices", 2),
        ("expand_threshold", "slices", 2),
        ("pair", "pair", 2),
        ("step", "step", 3),
        ("accumulator", "accumulator", 2),
    ],
)
def test_a_block_that_does_not_fit_is_refused_by_memory(memory: str, field: str, depth: int) -> None:
    spec = make_spec(channels=18, expanded=90)
    config = with_depth(WIDE, field, depth)
    with pytest.raises(
        ArchonError, match=rf"^block 7, group 0: {memory} memory needs \d+ rows, the configuration has {depth}$"
    ):
        build_image([PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)], config)


@pytest.mark.parametrize("memory", ["activation", "slices", "turned_slices", "row_store", "pair", "step", "accumulator"])
def test_the_depth_asked_for_is_enough_and_one_less_is_not(memory: str) -> None:
    spec = make_spec(channels=18, expanded=60)
    item = PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)
    depth, asked = 2, depth_asked_for(item, with_depth(WIDE, memory, 2))
    while asked is not None:  # a group may need more than the one before
        assert asked > depth
        depth, asked = asked, depth_asked_for(item, with_depth(WIDE, memory, asked))
    assert depth > 2
    assert depth_asked_for(item, with_depth(WIDE, memory, depth - 1)) == depth


def depth_asked_for(item: PlacedBlock, config: ArchonConfig) -> int | None:
    try:
        build_image([item], config)
    except ArchonError as error:
        return int(re.findall(r" memory needs (\d+) rows, the configuration has \d+$", str(error))[0])
    return None


def test_a_kernel_larger_than_the_hardwares_is_refused() -> None:
    spec = make_spec(kernel=5)
    item = PlacedBlock("block 7", make_block(spec, 6), spec, 7, 5)
    window = DenseLayer(np.ones((4, 5, 5), np.int8), requantization(4))
    layer = depthwise_layer("block 8 depthwise", window, (4, 7, 5), 1)
    for wrong, name in ((item, "block 7"), (layer, "block 8 depthwise")):
        build_image([wrong], dataclasses.replace(WIDE, kernel=5))
        with pytest.raises(ArchonError, match=f"^{name}: kernel 5 needs hardware of kernel 5, the configuration has 3$"):
            build_image([wrong], WIDE)


def test_the_row_store_holds_all_slices_of_a_row() -> None:
    spec = make_spec(expanded=30)  # 10 channels a group: 3 slices of 4
    block = make_block(spec, 6)
    block = dataclasses.replace(block, expand_weight=block.expand_weight | 1, project_weight=block.project_weight | 1)
    item = PlacedBlock("block 7", block, spec, 7, 5)
    build_image([item], with_depth(WIDE, "row_store", 5 * 3))
    with pytest.raises(ArchonError, match=r"^block 7, group 0: row store memory needs 15 rows, the configuration has 14$"):
        build_image([item], with_depth(WIDE, "row_store", 5 * 3 - 1))


@pytest.mark.parametrize(("network", "name"), [("fusionet-nano", "small"), ("fusionet", "large")])
def test_activations_and_rows_of_the_known_networks_fit_their_presets(network: str, name: str) -> None:
    spec = load_spec(network)
    for block, shape in zip(spec.fused_blocks, spec.block_shapes(), strict=True):
        slices = [slices_of(block.expanded_channels // block.groups, preset(name))] * block.groups
        jobs = block_jobs("block", block, shape.in_height, shape.in_width, preset(name), [100.0] * block.groups, slices)
        assert {job.group for job in jobs} == set(range(block.groups))


@pytest.mark.parametrize(
    ("bias", "depthwise_bias", "message"),
    [
        (0, 1 << 22, r"layout channel_bias.bias holds .* got 4194304"),
        (1 << 17, 0, r"layout channel_bias.expand_bias holds .* got 131072"),
        (-(1 << 14), 0, r"layout pair.bias_products holds .* got -245760"),
    ],
)
def test_a_bias_that_does_not_fit_is_refused(bias: int, depthwise_bias: int, message: str) -> None:
    spec = make_spec()
    block = make_block(spec, 8)
    block.expand_bias[3], block.depthwise_bias[3] = bias, depthwise_bias
    block.expand_weight[3] = 1
    block.depthwise_weight[3] = 15 if bias < 0 else 1
    block.project_weight[:, 3] = 1
    with pytest.raises(ArchonError, match=rf"block 7, group 0: {message}"):
        build_image([PlacedBlock("block 7", block, spec, 7, 5)], WIDE)
