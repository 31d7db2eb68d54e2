"""Differences are counted, and the first is named by image, layer, channel, row and column."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sim.compare import Comparison, Difference, compare

Outputs = list[dict[str, NDArray[np.int8]]]
Counts = list[dict[str, dict[str, int]]]


def example() -> tuple[Outputs, Counts]:
    rng = np.random.default_rng(3)
    outputs = [{f"block {n}": rng.integers(-128, 128, (5, 3, 4)).astype(np.int8) for n in (1, 2)} for _ in range(2)]
    counts = [{f"block {n}": {"multiplications": 10 * n, "additions": 20, "steps": 30} for n in (1, 2)} for _ in range(2)]
    return outputs, counts


def test_equal_runs_are_bit_exact() -> None:
    outputs, counts = example()
    comparison = compare(outputs, counts, *example())
    assert comparison.bit_exact
    assert comparison.compared == 2 * 2 * (5 * 3 * 4 + 3)
    assert comparison.first is None
    assert outputs[0]["block 1"].any()


def test_nothing_compared_is_not_bit_exact() -> None:
    assert not Comparison().bit_exact


def test_the_first_activation_that_differs_is_named() -> None:
    outputs, counts = example()
    got, got_counts = example()
    for image, block, place in ((1, "block 2", (0, 0, 0)), (1, "block 1", (4, 2, 3)), (1, "block 1", (3, 2, 1))):
        got[image][block][place] ^= 1
    comparison = compare(outputs, counts, got, got_counts)
    expected = int(outputs[1]["block 1"][3, 2, 1])
    assert comparison.mismatches == 3
    assert comparison.first == Difference(1, "block 1", "activation", 3, 2, 1, expected, expected ^ 1)


@pytest.mark.parametrize("name", ["multiplications", "additions", "steps"])
def test_a_counter_that_differs_is_named_after_the_activations_of_its_layer(name: str) -> None:
    outputs, counts = example()
    got, got_counts = example()
    got_counts[0]["block 1"][name] += 1
    got[0]["block 2"][0, 0, 0] ^= 1
    comparison = compare(outputs, counts, got, got_counts)
    number = counts[0]["block 1"][name]
    assert comparison.mismatches == 2
    assert comparison.first == Difference(0, "block 1", name, None, None, None, number, number + 1)


def test_tensors_of_other_shapes_are_refused() -> None:
    with pytest.raises(ArchonError, match=r"block 1: a tensor of shape \(1, 2, 3\) was expected, got \(3, 2, 1\)"):
        Comparison().tensor(0, "block 1", np.zeros((1, 2, 3), np.int8), np.zeros((3, 2, 1), np.int8))
