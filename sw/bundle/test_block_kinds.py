"""Bundles of networks with other blocks than fused ones, and what is refused of them."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle import bundle_file, check_network_bounds, find_bundle, load_bundle, save_bundle
from sw.bundle.blocks import ExcitedBlock, PointwisePairBlock, UnfusedBlock, pair_as_block, pair_columns, pair_order
from sw.bundle.network import IntegerNetwork
from sw.export.random_network import Survivors, random_network
from sw.golden.test_excitation import excited_spec
from sw.golden.test_excitation import images as excited_images
from sw.golden.test_kinds import images, kinds_spec
from sw.spec import PointwisePairSpec


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(kinds_spec(), 4, Survivors(0.5, 0.5), images(1)).network


def with_block(network: IntegerNetwork, index: int, **changes: object) -> IntegerNetwork:
    blocks = list(network.blocks)
    blocks[index] = dataclasses.replace(blocks[index], **changes)  # type: ignore[arg-type]
    return network.replaced(blocks=tuple(blocks))


def test_round_trip(network: IntegerNetwork, tmp_path: Path) -> None:
    path = tmp_path / "kinds.archon"
    save_bundle(network, path)
    loaded = load_bundle(path)
    assert loaded.spec == network.spec
    assert [type(block) for block in loaded.blocks] == [type(block) for block in network.blocks]
    written, read = (dict(bundle_file._arrays(item)) for item in (network, loaded))
    assert list(written) == list(read) == bundle_file._array_names(network.spec)
    for name, array in written.items():
        np.testing.assert_array_equal(array, read[name], err_msg=name)
    assert {"block_1.depthwise.weight", "block_3.shortcut.bias", "block_4.pair.predictor_expand_threshold"} < set(read)
    assert "block_1.expand.weight" not in read
    assert not any(name.startswith(("first_", "block_2.relu")) for name in read)
    save_bundle(loaded, tmp_path / "again.archon")
    assert (tmp_path / "again.archon").read_bytes() == path.read_bytes()


def test_the_first_version_is_still_read() -> None:
    path = find_bundle("fusionet")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["version"] == 1
    assert "kind" not in manifest["spec"]["blocks"][0]
    assert {block.kind for block in load_bundle(path).spec.blocks} == {"fused"}


def test_blocks_that_do_not_fit_are_refused(network: IntegerNetwork) -> None:
    first, second, third, fourth = network.blocks[:4]
    assert isinstance(first, UnfusedBlock)
    assert isinstance(second, UnfusedBlock)
    assert isinstance(third, UnfusedBlock)
    assert isinstance(fourth, PointwisePairBlock)
    blocks = (second, first, *network.blocks[2:])
    narrow = dataclasses.replace(second.project, weight=second.project.weight[:, 1:])
    pair = dataclasses.replace(fourth.pair, predictor_expand_weight=fourth.pair.predictor_expand_weight * np.int8(2))
    for wrong, sentence in (
        (
            network.replaced(blocks=(fourth, *network.blocks[1:])),
            r"block 1: expected a block of kind unfused, got PointwisePair",
        ),
        (network.replaced(blocks=blocks), r"block 1\.expand\.weight: expected int8|block 1\.expand: expected none, got one"),
        (with_block(network, 1, expand=None), r"block 2\.expand: expected one, got none"),
        (with_block(network, 1, project=narrow), r"block 2\.project\.weight: expected int8 \(6, 4\), got int8 \(6, 3\)"),
        (with_block(network, 2, shortcut=None), r"block 3\.shortcut: expected one, got none"),
        (with_block(network, 1, shortcut=third.shortcut), r"block 2\.shortcut: expected none, got one"),
        (with_block(network, 3, pair=pair), r"block 4\.predictor_expand_weight: expected values in -1\.\.1, got -?2"),
        (network.replaced(first_pointwise=second.expand), r"expected no layers between stem and blocks"),
    ):
        with pytest.raises(ArchonError, match=sentence):
            wrong.check()


@pytest.fixture(scope="module")
def excited() -> IntegerNetwork:
    return random_network(excited_spec(), 4, Survivors(0.5, 0.5), excited_images(1)).network


def test_round_trip_of_squeeze_and_excite(excited: IntegerNetwork, tmp_path: Path) -> None:
    path = tmp_path / "excited.archon"
    save_bundle(excited, path)
    loaded = load_bundle(path)
    assert loaded.last_pointwise is None
    assert [type(block) for block in loaded.blocks] == [UnfusedBlock, ExcitedBlock, ExcitedBlock]
    written, read = (dict(bundle_file._arrays(item)) for item in (excited, loaded))
    assert list(written) == list(read) == bundle_file._array_names(excited.spec)
    for name, array in written.items():
        np.testing.assert_array_equal(array, read[name], err_msg=name)
    own = {"scale.weight", "scale.shift", "squeeze.multiplier", "reduce.weight", "excite.bias"}
    assert {f"block_{index}.{name}" for index in (1, 2, 3) for name in own} | {"block_2.fused.expand_weight"} < set(read)
    assert not any(name.startswith("last_pointwise") for name in read)


def test_squeeze_and_excite_that_does_not_fit_is_refused(excited: IntegerNetwork) -> None:
    first, second, third = excited.blocks
    assert isinstance(first, UnfusedBlock)
    assert isinstance(second, ExcitedBlock)
    parts = second.excitation
    negative = dataclasses.replace(parts.scale, shift=parts.scale.shift - np.int8(60))
    narrow = dataclasses.replace(parts.reduce, weight=parts.reduce.weight[:, 1:])
    for wrong, sentence in (
        (with_block(excited, 0, excitation=None), r"block 1\.excitation: expected one, got none"),
        (excited.replaced(blocks=(first, second.fused, third)), r"block 2: .*fused with squeeze_and_excite, got FusedBlock"),
        (
            with_block(excited, 1, excitation=dataclasses.replace(parts, scale=negative)),
            r"block 2\.scale\.shift: .* 0\.\.47, got -",
        ),
        (
            with_block(excited, 1, excitation=dataclasses.replace(parts, reduce=narrow)),
            r"block 2\.reduce\.weight: expected int8",
        ),
        (excited.replaced(last_pointwise=parts.reduce), r"last_pointwise: expected none, got a layer"),
    ):
        with pytest.raises(ArchonError, match=sentence):
            wrong.check()
    bias = np.full(6, 2**31 - 1, dtype=np.int32)
    squeeze = dataclasses.replace(parts.squeeze, bias=bias)
    with pytest.raises(ArchonError, match=r"block 2 squeeze: its sum of channel 0 reaches"):
        check_network_bounds(with_block(excited, 1, excitation=dataclasses.replace(parts, squeeze=squeeze)), Widths())


def test_sums_that_could_overflow_are_refused(network: IntegerNetwork) -> None:
    check_network_bounds(network, Widths())
    second, third, fourth = network.blocks[1:4]
    assert isinstance(second, UnfusedBlock)
    assert isinstance(third, UnfusedBlock)
    assert isinstance(fourth, PointwisePairBlock)
    assert third.shortcut is not None
    high = np.full(6, 2**31 - 1, dtype=np.int32)
    shortcut = dataclasses.replace(third.shortcut, bias=high)
    parts = dataclasses.replace(second.depthwise.requantization, bias=np.full(12, 2**31 - 1, dtype=np.int32))
    depthwise = dataclasses.replace(second.depthwise, requantization=parts)
    pair = dataclasses.replace(fourth.pair, expand_weight=np.full_like(fourth.pair.expand_weight, 16))
    for wrong, sentence in (
        (with_block(network, 2, shortcut=shortcut), r"block 3 shortcut: its sum of channel 0 reaches"),
        (with_block(network, 1, depthwise=depthwise), r"block 2 depthwise: its sum of channel \d+ reaches"),
        (with_block(network, 3, pair=pair), r"block 4 pair: W1 of expanded channel 0 reaches a magnitude of 16"),
    ):
        with pytest.raises(ArchonError, match=sentence):
            check_network_bounds(wrong, Widths())


def test_rows_of_a_pair_as_a_block(network: IntegerNetwork) -> None:
    spec, block = network.spec.blocks[4], network.blocks[4]
    assert isinstance(spec, PointwisePairSpec)
    assert isinstance(block, PointwisePairBlock)
    fused, shape = pair_as_block(block.pair, spec)
    fused.check("pair", shape)
    # 24 expanded channels in 3 groups: place 9, in the second group, holds channel 3 of the first one.
    assert pair_order(spec)[[0, 1, 2, 3, 8, 9]].tolist() == [0, 8, 16, 1, 18, 3]
    assert pair_columns(spec)[[0, 1, 9]].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(fused.expand_weight[1], [0] * 5 + block.pair.expand_weight[8].tolist() + [0] * 5)
