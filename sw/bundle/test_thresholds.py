"""The knob on predictors' thresholds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from hw.contract.numerics import signed_range
from sw.bundle import find_bundle, load_bundle
from sw.bundle.bounds import check_network_bounds
from sw.bundle.network import FusedBlock, IntegerNetwork, PointwisePairBlock
from sw.bundle.thresholds import RAISED, raised
from sw.command import REFUSED
from sw.datasets import cropped, load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.golden.evaluation import evaluate
from sw.spec import load_spec
from sw.thresholds import thresholds


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    spec = load_spec("fusionet-nano")
    found = random_network(spec, 3, Survivors(0.4, 0.3), cropped(load_excerpt().images[:2], spec.height, spec.width)).network
    blocks = [block for block in found.blocks if isinstance(block, FusedBlock)]
    shifts = np.arange(len(blocks[0].predictor_level_shift), dtype=np.int8) % 4
    return found.replaced(blocks=(dataclasses.replace(blocks[0], predictor_level_shift=shifts), *blocks[1:]))


def shares(network: IntegerNetwork) -> tuple[float, float]:
    excerpt = load_excerpt()
    blocks = evaluate(network, excerpt.images[:2], excerpt.labels[:2], workers=1).blocks
    return float(np.mean([b.survivors_first for b in blocks])), float(np.mean([b.survivors_second for b in blocks]))


def test_thresholds_rise_by_levels(network: IntegerNetwork) -> None:
    block, changed = network.blocks[0], raised(network, 1.5, 2).blocks[0]
    assert isinstance(block, FusedBlock)
    assert isinstance(changed, FusedBlock)
    by = changed.predictor_expand_threshold - block.predictor_expand_threshold
    assert set(by[0::4]) == {1, 2}
    assert by[0::4].mean() == pytest.approx(1.5, abs=0.05)  # half of the channels get one more
    assert [set(by[shift::4]) for shift in (1, 2, 3)] == [{3}, {6}, {12}]  # 1.5 levels of 2, 4 and 8
    assert set(changed.predictor_depthwise_threshold - block.predictor_depthwise_threshold) == {2}
    np.testing.assert_array_equal(changed.expand_weight, block.expand_weight)


def test_fewer_survive_and_back_again(network: IntegerNetwork) -> None:
    first, second = shares(network)
    fewer_first, fewer_second = shares(raised(network, 1, 1))
    assert fewer_first < first
    assert fewer_second < second
    assert shares(raised(raised(network, 1, 1), -1, -1)) == (first, second)
    only_second = shares(raised(network, 0, 3))
    assert only_second[0] == pytest.approx(first, abs=0.05)  # the first block's are the same, later ones see other inputs
    assert only_second[1] < second


def test_thresholds_saturate_where_the_hardware_does(network: IntegerNetwork) -> None:
    nothing = raised(network, 1e6, 1e6)
    check_network_bounds(nothing, Widths())
    block = nothing.blocks[0]
    assert isinstance(block, FusedBlock)
    assert set(block.predictor_expand_threshold) == {signed_range(Widths().predictor_sum)[1]}
    assert shares(nothing)[0] == 0
    assert nothing.provenance[RAISED] == "1e+06 first, 1e+06 second, in levels of r1"


def test_pairs_have_one_threshold() -> None:
    spec = load_spec("shufflenet-modified-nano")
    excerpt = cropped(load_excerpt().images[:1], spec.height, spec.width)
    network = random_network(spec, 1, Survivors(0.4, 0.3), excerpt).network
    block, changed = network.blocks[0], raised(network, 2, 0).blocks[0]
    assert isinstance(block, PointwisePairBlock)
    assert isinstance(changed, PointwisePairBlock)
    assert set(changed.pair.predictor_expand_threshold - block.pair.predictor_expand_threshold) == {2}


def test_a_pairs_second_relu_is_exact() -> None:
    pairs = load_bundle(find_bundle("shufflenet-modified-nano"))
    with pytest.raises(ArchonError, match="expected 0 for the second ReLU, which is exact in shufflenet-modified-nano, got 5"):
        raised(pairs, 2, 5)


def test_provenance_says_all_of_it_and_no_accuracy_of_another_network(network: IntegerNetwork) -> None:
    trained = network.replaced(provenance={"weights": "trained", "accuracy": "79.31 %"})
    assert raised(raised(trained, 0.5, 0), 0, 1).provenance == {
        "weights": "trained",
        RAISED: "0.5 first, 0 second, in levels of r1; then 0 first, 1 second, in levels of r1",
    }


def test_the_command_raises_something_and_keeps_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert thresholds("fusionet-nano", build=tmp_path) == REFUSED
    assert "expected a number other than 0" in capsys.readouterr().err
    assert thresholds("fusionet-nano", first=0.5, build=tmp_path) == 0
    path = tmp_path / "fusionet-nano" / "fusionet-nano-raised.archon"
    before = path.read_bytes()
    assert thresholds(str(path), first=0.5, build=tmp_path) == REFUSED
    assert "expected --out with another place than the bundle's own" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_nothing_to_raise(network: IntegerNetwork) -> None:
    with pytest.raises(ArchonError, match="expected finite numbers to raise them by, got nan and 0"):
        raised(network, float("nan"), 0)
    spec = load_spec("mobilenetv2-nano")
    images = cropped(load_excerpt().images[:1], spec.height, spec.width)
    unfused = random_network(spec, 1, Survivors(0.4, 0.3), images).network
    with pytest.raises(ArchonError, match="mobilenetv2-nano: expected a network with predictors, got one without"):
        raised(unfused, 1, 1)
