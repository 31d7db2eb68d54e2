"""Random blocks: seeded, within bounds, of every kind."""

import numpy as np
import pytest

from hw.contract.config import Widths
from sw.bundle.bounds import check_bounds, largest_sums
from sw.golden import random_activation, random_block
from sw.spec import BlockSpec

SPEC = BlockSpec(
    in_channels=12, expanded_channels=51, out_channels=6, kernel=3, stride=1, groups=3, residual=False, shuffle=True
)


def test_a_seed_gives_one_block() -> None:
    one, same, other = (random_block(SPEC, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.expand_weight, same.expand_weight)
    np.testing.assert_array_equal(one.requantization.shift, same.requantization.shift)
    assert (one.expand_weight != other.expand_weight).any()


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("widths", [Widths(), Widths(weight=3, accumulator=10, shift=2, bias_product=8, bias=10)])
def test_blocks_stay_within_bounds(widths: Widths, sparsity: float, *, extreme: bool) -> None:
    block = random_block(SPEC, 5, sparsity, extreme=extreme, widths=widths)
    check_bounds(block, "block", widths)
    assert abs(np.mean(block.expand_weight == 0) - sparsity) < 0.2
    if extreme and sparsity < 1:
        assert np.abs(block.expand_weight).max() == widths.weight_max
        entries, _ = largest_sums(block)
        assert entries.max() > 0.4 * (1 << (widths.accumulator - 1))


def test_activations() -> None:
    assert set(np.unique(random_activation((4, 5, 6), 1, extreme=True)).tolist()) == {-128, 127}
    values = random_activation((16, 16, 16), 1)
    assert values.dtype == np.int8
    assert (values.min(), values.max()) == (-128, 127)
