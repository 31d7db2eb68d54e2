"""Blocks whose groups are cut into parts of their outputs compute the same, and count the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hw.contract.errors import ArchonError
from hw.contract.rules import broken_rules
from sw.golden import random_activation, random_block, run_block
from sw.program import PlacedBlock, build_image
from sw.program.parts import fitting_parts, in_parts
from sw.program.tables import output_channel
from sw.program.test_tables import WIDE, make_spec, with_depth


@pytest.mark.parametrize(("groups", "stride", "parts"), [(1, 1, 3), (3, 2, 2), (2, 1, 6)])
def test_parts_compute_and_count_the_same(groups: int, stride: int, parts: int) -> None:
    spec = make_spec(channels=4 * groups, expanded=10 * groups, outputs=6 * groups, groups=groups, stride=stride, shuffle=False)
    block = random_block(spec, 3, 0.5)
    cut, shape = in_parts(block, spec, parts)
    cut.check("cut", shape)
    x = random_activation((spec.in_channels, 5, 6), 7)
    repeated = np.repeat(x.reshape(groups, -1, 5, 6), parts, axis=0).reshape(-1, 5, 6)
    (expected, counts), (got, of_parts) = run_block(block, spec, x), run_block(cut, shape, repeated)
    np.testing.assert_array_equal(got, expected)
    assert of_parts == counts
    assert counts.multiplications > 100


@pytest.mark.parametrize("shuffle", [False, True])
def test_outputs_of_parts_go_where_those_of_groups_go(shuffle: bool) -> None:
    spec = make_spec(channels=6, expanded=30, outputs=24, groups=3, shuffle=shuffle)
    _, shape = in_parts(random_block(spec, 1, 0.5), spec, 4)
    of_groups = [output_channel(spec, group) for group in range(3)]
    of_parts = [output_channel(shape, group, 4) for group in range(12)]
    assert np.concatenate(of_parts).tolist() == np.concatenate(of_groups).tolist()
    assert len(of_parts[0]) == 2


@pytest.mark.parametrize(
    ("memory", "depth", "parts"), [("output", 6, 1), ("output", 4, 2), ("accumulator", 2, 6), ("step", 24, 3)]
)
def test_the_fewest_parts_are_taken(memory: str, depth: int, parts: int) -> None:
    spec, config = make_spec(channels=12, outputs=18), dataclasses.replace(with_depth(WIDE, memory, depth), clusters=2)
    block = random_block(spec, 3, 0.5)
    _, shape, found, segments = fitting_parts(block, spec, 35, config, "block 7")
    assert found == parts
    assert shape.groups == len(segments) == 3 * parts
    image = build_image([PlacedBlock("block 7", block, spec, 7, 5)], config)
    jobs = [job.fields for job in image.network_program.jobs]
    assert {fields["output_channels"] for fields in jobs} == {6 // parts}
    assert {(fields["input_address"] - image.tensors["input"].address) // 35 for fields in jobs} == {0, 1}
    assert {fields["first_byte"] for fields in jobs} == {0, 4}
    assert not any(broken_rules(fields, config) for fields in jobs)
    assert len({fields["table_address"] for fields in jobs}) == 3 * parts


def test_what_no_parts_make_fit_is_named_by_its_group() -> None:
    spec = make_spec(channels=12, outputs=18)
    block = random_block(spec, 3, 0.5)
    block.expand_weight[:20] = 0
    with pytest.raises(ArchonError, match=r"^block 7, group 2: pair memory needs \d+ rows, the configuration has 2$"):
        fitting_parts(block, spec, 35, with_depth(WIDE, "pair", 2), "block 7")
