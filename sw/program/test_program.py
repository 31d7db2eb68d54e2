"""Programs are decoded word by word: every output is some job's, jobs read what they need, layers follow each other."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB
from hw.contract.errors import ArchonError
from hw.contract.layout import Layout, words_to_int
from sw.program import MemoryImage, PlacedBlock, build_image, read_hex, write_hex
from sw.program.test_tables import WIDE, Row, check_group, make_block, make_spec


def unpack_program(image: MemoryImage, address: int) -> list[Row]:
    jobs: list[Row] = []
    while True:
        words = image.words[address : address + JOB.words].tolist()
        fields: Row = JOB.unpack(words_to_int(words))
        if fields["end"]:
            return jobs
        jobs.append(fields)
        address += DESCRIPTOR_WORDS


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 3, 4]),
    clusters=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    kernel=st.sampled_from([3, 5]),
)
def test_jobs_cover_every_output_row_of_every_group_once(
    groups: int, clusters: int, stride: int, height: int, width: int, kernel: int
) -> None:
    spec = make_spec(groups * 3, groups * 4, groups * 2, groups, stride, kernel=kernel)
    image = build_image([PlacedBlock("block 1", make_block(spec, 1), spec, height, width)],
                        dataclasses.replace(WIDE, clusters=clusters, kernel=5))  # fmt: skip
    jobs = unpack_program(image, image.network_program.address)
    output_height = -(-height // stride)
    covered = np.zeros((groups, output_height), int)
    for cluster in range(clusters):
        halves = [fields["half"] for fields in jobs if fields["cluster"] == cluster]
        assert halves == [index % 2 for index in range(len(halves))], "jobs of a cluster alternate"
    for index, fields in enumerate(jobs):
        group = image.network_program.jobs[index].group
        assert fields == image.network_program.jobs[index].fields
        first, last = fields["output_row_start"], fields["output_row_start"] + fields["output_rows"] - 1
        covered[group, first : last + 1] += 1
        needed = [y for y in range(stride * first - kernel // 2, stride * last + kernel // 2 + 1) if 0 <= y < height]
        assert needed == list(range(fields["input_row_start"], fields["input_row_start"] + fields["input_rows"]))
        assert fields["barrier"] == (index == 0)
        assert fields["cluster"] < clusters
        assert fields["job"] == index
        center_row = fields["input_row_start"] + fields["first_center"] // width
        assert (center_row, fields["first_center"] % width) == (stride * first, 0)
    assert (covered == 1).all()
    assert len({fields["cluster"] for fields in jobs}) == min(len(jobs), clusters), "no cluster idles for nothing"


def test_input_planes_of_a_job_hold_its_channels() -> None:
    spec = make_spec(15, 30, 9, groups=3)
    item = PlacedBlock("block 1", make_block(spec, 2), spec, 4, 3)
    image = build_image([item], dataclasses.replace(WIDE, clusters=6))
    memory = image.words.copy()
    tensor = np.random.default_rng(3).integers(-128, 128, (15, 4, 3)).astype(np.int8)
    image.tensors["input"].write(memory, tensor)
    np.testing.assert_array_equal(image.tensors["input"].read(memory), tensor)
    for job in image.network_program.jobs:
        fields = job.fields
        for channel in range(5):
            plane, byte = divmod(channel + fields["first_byte"], 8)
            start = fields["input_address"] + plane * fields["plane_words"]
            got = memory[start : start + fields["segment"]].view(np.int8).reshape(-1, 8)[:, byte]
            rows = slice(fields["input_row_start"], fields["input_row_start"] + fields["input_rows"])
            np.testing.assert_array_equal(got, tensor[job.group * 5 + channel, rows].reshape(-1))
        assert fields["planes"] == -(-(fields["first_byte"] + 5) // 8)


def test_network_program_is_its_layer_programs_in_a_row() -> None:
    first, second = make_spec(6, 12, 9, 3, stride=2), make_spec(9, 12, 6, 3)
    blocks = [
        PlacedBlock("block 1", make_block(first, 4), first, 6, 5),
        PlacedBlock("block 2", make_block(second, 5), second, 3, 3),
    ]
    image = build_image(blocks, WIDE, "image")
    whole = unpack_program(image, image.network_program.address)
    parts = [unpack_program(image, program.address) for program in image.layer_programs]
    assert whole == parts[0] + parts[1]
    of_cluster = [fields["half"] for fields in whole if fields["cluster"] == 0]
    assert of_cluster == [index % 2 for index in range(len(of_cluster))], "also from block to block"
    assert [fields["barrier"] for fields in whole] == [1, 0, 0, 1, 0, 0]
    assert parts[0][0]["output_address"] == image.tensors["block 1"].address == parts[1][0]["input_address"]
    places = sorted((place.address, place.words) for place in image.tensors.values())
    assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(places))
    assert image.activation_address == places[0][0]
    assert sum(places[-1]) == len(image.words)
    assert not image.words[image.activation_address :].any()
    for item in blocks:
        for group in range(3):
            check_group(image, item, group, WIDE)


def test_blocks_that_do_not_follow_each_other_are_refused() -> None:
    spec = make_spec()
    item = PlacedBlock("block 1", make_block(spec, 9), spec, 7, 5)
    with pytest.raises(ArchonError, match=r"block 2: expected the output \(9, 7, 5\) of block 1"):
        build_image([item, dataclasses.replace(item, name="block 2")], WIDE)


def test_hex_file_round_trip(tmp_path: Path) -> None:
    words = np.random.default_rng(10).integers(0, 2**63, 37).astype(np.uint64) * np.uint64(2)
    write_hex(tmp_path / "image.hex", words, address=5)
    assert [path.name for path in tmp_path.iterdir()] == ["image.hex"]
    read = read_hex(tmp_path / "image.hex", 50)
    np.testing.assert_array_equal(read[5:42], words)
    assert not read[:5].any()
    assert not read[42:].any()
    with pytest.raises(ArchonError, match="at most 20 words"):
        read_hex(tmp_path / "image.hex", 20)


def test_layouts_of_descriptors_fit_their_distance() -> None:
    assert isinstance(JOB, Layout)
    assert JOB.words <= DESCRIPTOR_WORDS
