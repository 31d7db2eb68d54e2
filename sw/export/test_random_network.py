"""Random networks: reproducible, as sparse as asked, with the asked share of survivors."""

from __future__ import annotations

import numpy as np
import pytest

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle.blocks import UnfusedBlock
from sw.bundle.bounds import largest_sums
from sw.datasets import load_excerpt
from sw.export.random_draw import share_thresholds
from sw.export.random_network import Survivors, random_network
from sw.golden.test_kinds import kinds_spec
from sw.quantize.network import Quantized
from sw.quantize.test_network import small_spec


def make(first: float = 0.4, second: float = 0.3, seed: int = 1) -> Quantized:
    return random_network(small_spec(), seed, Survivors(first, second), load_excerpt().images[:4])


@pytest.mark.parametrize(("first", "second"), [(0.4, 0.3), (0.2, 0.6), (0.05, 0.05)])
def test_asked_shares_survive(first: float, second: float) -> None:
    for report in make(first, second).blocks:
        assert report.survivors_first == pytest.approx(first, abs=0.02)
        assert report.survivors_second == pytest.approx(second, abs=0.02)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_extreme_shares_are_exact(first: float, second: float) -> None:
    for report in make(first, second).blocks:
        assert (report.survivors_first, report.survivors_second) == (first, second)


def test_weights_are_as_sparse_as_the_specification_says() -> None:
    for block in make().network.fused_blocks:
        for weight in (block.expand_weight, block.depthwise_weight):
            assert np.count_nonzero(weight) <= 0.5 * weight.size + 1
            assert np.count_nonzero(weight) > 0.4 * weight.size
        ternary = block.predictor_expand_weight
        assert np.count_nonzero(ternary) == 0.5 * ternary.size
        assert (block.expand_weight * ternary >= 0).all(), "the predictor has the signs of the value path"


def test_first_depthwise_and_pointwise_layers_within_a_block_stay_dense() -> None:
    spec = kinds_spec()
    images = load_excerpt().images[:2, : spec.height, : spec.width]
    first, second = random_network(spec, 1, Survivors(0.4, 0.3), images).network.blocks[:2]
    assert isinstance(first, UnfusedBlock)
    assert isinstance(second, UnfusedBlock)
    for part in ("depthwise", "project"):
        dense, pruned = (getattr(block, part).weight for block in (first, second))
        assert np.count_nonzero(dense) > 0.9 * dense.size  # the smallest ones are rounded to zero
        assert np.count_nonzero(pruned) <= 0.8 * pruned.size + 1


def test_balanced_networks_keep_as_many_weights_of_each_input_channel() -> None:
    spec = small_spec().with_balanced_pruning()
    network = random_network(spec, 1, Survivors(0.4, 0.3), load_excerpt().images[:4]).network
    for block, shape in zip(network.fused_blocks, spec.fused_blocks, strict=True):
        signs = block.predictor_expand_weight.reshape(shape.groups, -1, shape.in_channels // shape.groups)
        assert (np.count_nonzero(signs, axis=1) == round(signs.shape[1] * 0.5)).all()


def test_activations_use_the_range() -> None:
    for block in make().network.fused_blocks:
        factor = block.requantization.multiplier / 2.0**block.requantization.shift
        _, total = largest_sums(block)
        assert (total * factor > 127).any(), "some input saturates some output"


def test_the_seed_decides_everything() -> None:
    first, again, other = make(), make(), make(seed=2)
    np.testing.assert_array_equal(first.network.fused_blocks[1].project_weight, again.network.fused_blocks[1].project_weight)
    np.testing.assert_array_equal(first.network.dense_weight, again.network.dense_weight)
    assert (first.network.fused_blocks[1].project_weight != other.network.fused_blocks[1].project_weight).any()


def test_thresholds_make_up_for_coarse_sums() -> None:
    sums = np.random.default_rng(5).integers(-2, 3, (200, 64)).astype(np.int16)
    ordered = np.sort(sums, axis=1)
    thresholds = share_thresholds(ordered, 0.33)
    assert (sums > thresholds[:, None]).mean() == pytest.approx(0.33, abs=0.01)
    high = (1 << (Widths().predictor_sum - 1)) - 1
    assert (share_thresholds(ordered, 0) == high).all()


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ArchonError, match=r"survivors-second must be a share from 0 to 1, got 1\.5"):
        Survivors(0.4, 1.5)
