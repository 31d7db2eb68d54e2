"""Every overflow is refused with layer, channel and the width that would do."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle.bounds import check_bounds, check_fixed_bounds, largest_sums
from sw.bundle.network import FusedBlock, Requantization

EXPANDED, INPUTS, OUTPUTS = 6, 2, 3


def zero_block(kernel: int = 3) -> FusedBlock:
    """Fits everything; one group."""
    return FusedBlock(
        expand_weight=np.ones((EXPANDED, INPUTS), dtype=np.int8),
        expand_bias=np.zeros(EXPANDED, dtype=np.int32),
        depthwise_weight=np.ones((EXPANDED, kernel, kernel), dtype=np.int8),
        depthwise_bias=np.zeros(EXPANDED, dtype=np.int32),
        project_weight=np.ones((OUTPUTS, EXPANDED), dtype=np.int32),
        requantization=Requantization(
            np.zeros(OUTPUTS, dtype=np.int32), np.zeros(OUTPUTS, dtype=np.int32), np.zeros(OUTPUTS, dtype=np.int8)
        ),
        predictor_expand_weight=np.zeros((EXPANDED, INPUTS), dtype=np.int8),
        predictor_expand_threshold=np.zeros(EXPANDED, dtype=np.int32),
        predictor_level_shift=np.zeros(EXPANDED, dtype=np.int8),
        predictor_depthwise_weight=np.zeros((EXPANDED, kernel, kernel), dtype=np.int8),
        predictor_depthwise_threshold=np.zeros(EXPANDED, dtype=np.int32),
    )


def changed(name: str, index: Any, value: int, block: FusedBlock | None = None) -> FusedBlock:
    block = block or zero_block()
    array = getattr(block, name).copy()
    array[index] = value
    return dataclasses.replace(block, **{name: array})


CASES = [
    (
        "expand_weight",
        (4, 1),
        15,
        16,
        r"layer: W1 of expanded channel 4 reaches a magnitude of 16: 6 bits would do, 5 are there",
    ),
    ("depthwise_weight", (2, 0, 1), -15, -16, r"D of expanded channel 2 reaches a magnitude of 16: 6 bits"),
    ("expand_bias", 3, (1 << 17) - 1, 1 << 17, r"D b1 of expanded channel 3 reaches 131072: 19 bits would do, 18 are there"),
    ("expand_bias", 3, -(1 << 17), -(1 << 17) - 1, r"D b1 of expanded channel 3 reaches -131073: 19 bits"),
    ("depthwise_bias", 5, (1 << 21) - 1, 1 << 21, r"b2 of expanded channel 5 reaches 2097152: 23 bits would do, 22 are there"),
    (
        "project_weight",
        (1, 0),
        170,
        171,
        r"W2 of output channel 1 holds 171, which needs a shift of 8: a shift width of 4 bits",
    ),
    ("predictor_expand_threshold", 2, 511, 512, r"t1 of expanded channel 2 reaches 512: 11 bits would do, 10 are there"),
    ("predictor_depthwise_threshold", 2, -512, -513, r"t2 of expanded channel 2 reaches -513: 11 bits"),
    ("predictor_level_shift", 1, 7, 8, r"level shift of expanded channel 1 is 8: a width of 4 bits would do, 3 are there"),
]


@pytest.mark.parametrize(("name", "index", "fits", "beyond", "sentence"), CASES)
def test_the_last_value_fits_and_the_next_is_refused(name: str, index: Any, fits: int, beyond: int, sentence: str) -> None:
    check_bounds(changed(name, index, fits), "layer", Widths())
    with pytest.raises(ArchonError, match=sentence):
        check_bounds(changed(name, index, beyond), "layer", Widths())


def test_an_entry_of_a_is_bounded_by_the_sum_of_magnitudes() -> None:
    # 6 channels of 1 * 1 * 1 under each tap: |A| <= 6, which 4 bits hold and 3 do not; signs do not matter.
    block = changed("project_weight", (2, slice(None)), -1)
    assert [bound.tolist() for bound in largest_sums(block)] == [[6, 6, 6], [128 * 6 * 18] * 3]
    wide = {"weight": 4, "bias_product": 8, "bias": 8}
    check_bounds(changed("project_weight", (2, 5), 2), "layer", Widths(accumulator=8, **wide))
    block = changed("project_weight", (2, 5), 123, changed("project_weight", (2, 4), -1))
    with pytest.raises(
        ArchonError, match=r"layer: an entry of A of output channel 2 reaches 128: 9 bits would do, 8 are there"
    ):
        check_bounds(block, "layer", Widths(accumulator=8, **wide))


def test_all_taps_of_a_kernel_of_5_count() -> None:
    # An entry is under one tap; y adds 25 of them for each input channel, and b1 25 times.
    block = changed("expand_bias", 0, 20, zero_block(5))
    assert [bound.tolist() for bound in largest_sums(block)] == [[6] * 3, [128 * 6 * 50 + 25 * 20] * 3]
    block = changed("depthwise_weight", (0, 4, 4), 15, block)
    assert [bound.tolist() for bound in largest_sums(block)] == [[20] * 3, [128 * (6 * 50 + 28) + 39 * 20] * 3]
    # 25 levels of 15 need 10 bits, of which the last ones come from the last tap.
    block = changed("predictor_depthwise_weight", (1, slice(None), slice(None)), 1, block)
    check_bounds(block, "layer", Widths())
    with pytest.raises(ArchonError, match=r"a sum of TD of expanded channel 1 reaches 375: 10 bits would do, 9 are there"):
        check_bounds(block, "layer", Widths(predictor_sum=9))


def test_y_is_bounded_with_all_its_biases() -> None:
    # A * x reaches 128 * 6 * 18 = 13824, b2 and b1 add 10 + 9 * 20 from one channel.
    block = changed("depthwise_bias", 0, -10, changed("expand_bias", 0, 20))
    limit = (1 << 31) - 1 - 13824 - 190
    for bias, fits in ((limit, True), (limit + 1, False)):
        parts = dataclasses.replace(block.requantization, bias=np.array([0, bias, 0], dtype=np.int32))
        changed_block = dataclasses.replace(block, requantization=parts)
        if fits:
            check_bounds(changed_block, "layer", Widths())
        else:
            with pytest.raises(ArchonError, match=r"layer: y of output channel 1 reaches 2147483648: 33 bits would do"):
                check_bounds(changed_block, "layer", Widths())


def test_sums_of_the_predictor_are_bounded() -> None:
    narrow = Widths(predictor_sum=6)
    block = changed("predictor_expand_weight", (1, slice(None)), 1)
    check_bounds(block, "layer", narrow)  # 2 * 7 and 2 * -8
    block = changed("predictor_depthwise_weight", (1, 0), 1)
    with pytest.raises(ArchonError, match=r"a sum of TD of expanded channel 1 reaches 45: 7 bits would do, 6 are there"):
        check_bounds(block, "layer", narrow)


def test_a_channel_without_pairs_must_not_have_biases() -> None:
    block = changed("expand_weight", 3, 0)
    check_bounds(block, "layer", Widths())
    for name in ("expand_bias", "depthwise_bias"):
        with pytest.raises(ArchonError, match=r"layer: expanded channel 3 has biases but no W1"):
            check_bounds(changed(name, 3, 1, block), "layer", Widths())
        check_bounds(changed("project_weight", (slice(None), 3), 0, changed(name, 3, 1, block)), "layer", Widths())


def test_sums_and_weights_of_layers_that_are_not_fused_are_bounded() -> None:
    weight = np.full((3, 5), -128, dtype=np.int8)
    limit = (1 << 31) - 1 - 5 * 128 * 128
    check_fixed_bounds("stem", weight, np.array([0, -limit, limit], dtype=np.int32), Widths())
    with pytest.raises(ArchonError, match=r"stem: its sum of channel 1 reaches 2147483648: 33 bits would do, 32 are there"):
        check_fixed_bounds("stem", weight, np.array([0, limit + 1, 0], dtype=np.int32), Widths())
    narrow, bias = Widths(shift=2), np.zeros(3, dtype=np.int32)
    check_fixed_bounds("dense", np.array([[1], [7], [-9]], dtype=np.int8), bias, narrow)
    with pytest.raises(
        ArchonError, match=r"dense: weight of output channel 2 holds 13, which needs a shift of 4: a shift width"
    ):
        check_fixed_bounds("dense", np.array([[1], [8], [13]], dtype=np.int8), bias, narrow)
