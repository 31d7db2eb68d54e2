"""Quantised value paths stand for nearly the same products, and never leave the hardware's widths."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from hw.contract.taps import KERNELS
from sw.quantize import ValuePath, fake_quantize, powers, quantize_value_path, value_path
from sw.quantize.precision import Precision
from sw.quantize.value_path import bound_excess

INPUT_SCALE = 0.03


def make_path(
    inputs: int = 8, expanded: int = 48, outputs: int = 8, groups: int = 4, seed: int = 0, zeros: float = 0.8, kernel: int = 3
) -> ValuePath:
    """Sizes of one group."""
    random = np.random.default_rng(seed)

    def sparse(*shape: int) -> NDArray[np.float64]:
        return random.normal(size=shape) * (random.random(shape) >= zeros)

    channels = groups * expanded
    return ValuePath(
        expand_weight=sparse(channels, inputs) * 0.5,
        expand_bias=random.normal(size=channels) * 0.3,
        depthwise_weight=sparse(channels, kernel, kernel) * 0.5,
        depthwise_bias=random.normal(size=channels) * 0.3,
        project_weight=sparse(groups * outputs, expanded) * 0.3,
        project_bias=random.normal(size=groups * outputs) * 0.1,
    )


def products(path: Any) -> NDArray[np.float64]:
    """A with all masks one, (K, C/G * taps), channel by channel."""
    groups, per_group = len(path.expand_weight) // path.project_weight.shape[1], path.project_weight.shape[1]
    outputs = len(path.project_weight) // groups
    rows = []
    for k in range(len(path.project_weight)):
        total = np.zeros((path.expand_weight.shape[1], path.depthwise_weight[0].size))
        for index in range(per_group):
            e = k // outputs * per_group + index
            total += path.project_weight[k, index] * np.outer(path.expand_weight[e], path.depthwise_weight[e].reshape(-1))
        rows.append(total.reshape(-1))
    return np.array(rows)


def test_products_keep_within_a_few_percent() -> None:
    path = make_path()
    exact, rounded = products(path), products(fake_quantize(path, INPUT_SCALE))
    assert np.linalg.norm(exact - rounded) < 0.06 * np.linalg.norm(exact)


@pytest.mark.parametrize("kernel", KERNELS)
def test_integers_times_their_scales_are_the_fake_quantised_products(kernel: int) -> None:
    path = make_path(seed=3, kernel=kernel)
    integers = quantize_value_path(path, INPUT_SCALE)
    per_unit = products(integers) * (integers.output_scale / INPUT_SCALE)[:, None]
    np.testing.assert_allclose(per_unit, products(integers.floats()), rtol=1e-9, atol=1e-12)


def test_biases_are_rounded_to_their_units() -> None:
    path = make_path(seed=3)
    integers = quantize_value_path(path, INPUT_SCALE)
    floats, expand = integers.floats(), integers.expand_scale * INPUT_SCALE
    units = {"expand_bias": expand, "depthwise_bias": expand * integers.depthwise_scale, "project_bias": integers.output_scale}
    for name, unit in units.items():
        trained = getattr(path, name)
        assert (np.abs(getattr(floats, name) - trained) <= 0.5001 * unit).all()
        assert np.median(np.abs(trained) / unit) > 20


def test_the_pairs_of_scales_tried_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_path(zeros=0.2)
    exact = products(path)
    best = np.linalg.norm(exact - products(fake_quantize(path, INPUT_SCALE)))
    monkeypatch.setattr(value_path, "SCALES", 1)
    assert best < 0.95 * np.linalg.norm(exact - products(fake_quantize(path, INPUT_SCALE)))


def test_quantising_twice_changes_little() -> None:
    once = fake_quantize(make_path(seed=4), INPUT_SCALE)
    twice = fake_quantize(once, INPUT_SCALE)
    assert np.linalg.norm(products(once) - products(twice)) < 0.01 * np.linalg.norm(products(once))


def test_zeros_stay_zero() -> None:
    path = make_path(seed=5)
    rounded = fake_quantize(path, INPUT_SCALE)
    for name in ("expand_weight", "depthwise_weight", "project_weight"):
        assert not getattr(rounded, name)[getattr(path, name) == 0].any()


def test_channels_whose_expand_weights_vanish_beside_their_bias_leave_the_project_weight_empty() -> None:
    path = make_path()
    path.expand_weight[5] = [1e-6, *[0] * 7]
    path.project_weight[:8, 5] = 1
    path.expand_bias[5] = 10
    integers = quantize_value_path(path, INPUT_SCALE)
    assert not integers.expand_weight[5].any()
    assert not integers.project_weight[:8, 5].any()


def test_channels_without_any_expand_weight_leave_the_project_weight_empty() -> None:
    path = make_path(seed=6)
    path.expand_weight[5] = 0
    path.project_weight[:, 5] = 1.0
    integers = quantize_value_path(path, INPUT_SCALE)
    assert not integers.project_weight[:8, 5].any()
    assert integers.project_weight[8:, 5].any(), "the other groups' channel 5 is another one"


@settings(max_examples=30, deadline=None)
@given(
    inputs=st.integers(1, 24),
    expanded=st.integers(1, 40),
    outputs=st.integers(1, 12),
    groups=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 2**16),
    zeros=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    magnitude=st.sampled_from([1e-3, 1.0, 1e3]),
    bias=st.sampled_from([0.0, 1.0, 1e4]),
)
def test_widths_hold_for_any_weights(
    inputs: int, expanded: int, outputs: int, groups: int, seed: int, zeros: float, magnitude: float, bias: float
) -> None:
    path = make_path(inputs, expanded, outputs, groups, seed, zeros)
    path = dataclasses.replace(
        path,
        expand_weight=path.expand_weight * magnitude,
        expand_bias=path.expand_bias * bias,
        depthwise_bias=path.depthwise_bias * bias,
    )
    widths = Widths()
    integers = quantize_value_path(path, INPUT_SCALE, Precision(widths))
    assert np.abs(integers.expand_weight).max() <= widths.weight_max
    assert np.abs(integers.depthwise_weight).max() <= widths.weight_max
    biases = integers.depthwise_weight * integers.expand_bias[:, None, None]
    assert numerics.fits_signed(biases, widths.bias_product)
    assert numerics.fits_signed(integers.depthwise_bias, widths.bias)
    assert numerics.fits_signed(integers.project_bias, 32)
    for weight in np.unique(integers.project_weight):
        assert len(numerics.signed_powers(int(weight), widths.shift_max)) <= powers.TERMS
    assert (bound_excess(integers, widths) <= 1).all()


def test_a_narrow_accumulator_is_respected() -> None:
    path, widths = make_path(zeros=0.2), Widths(accumulator=12)
    integers = quantize_value_path(path, INPUT_SCALE, Precision(widths))
    magnitudes = dataclasses.replace(
        integers,
        expand_weight=abs(integers.expand_weight),
        depthwise_weight=abs(integers.depthwise_weight),
        project_weight=abs(integers.project_weight),
    )
    assert products(magnitudes).max() <= 2**11 - 1
    assert integers.project_weight.any()


def test_bound_counts_the_worst_masks_and_inputs() -> None:
    path = quantize_value_path(make_path(1, 1, 1, 1, zeros=0.0), INPUT_SCALE)
    ones = np.ones((1, 1), dtype=np.int64)
    path = dataclasses.replace(
        path,
        expand_weight=ones * 15,
        depthwise_weight=np.full((1, 3, 3), -15),
        project_weight=ones * 160,
        expand_bias=np.array([8000]),
        depthwise_bias=np.array([-1000]),
        project_bias=np.array([77]),
    )
    total = 128 * 9 * 36000 + 160 * (1000 + 9 * 15 * 8000) + 77
    expected = max(36000 / (2**17 - 1), total / (2**31 - 1))
    assert bound_excess(path, Widths()) == pytest.approx(expected)


def test_nearest_is_nearest() -> None:
    grid = np.array([value for value in range(-160, 161) if len(numerics.signed_powers(value, 8)) <= 2])
    assert powers.magnitudes(7) == tuple(grid[grid >= 0])
    values = np.random.default_rng(7).uniform(-170, 170, 2000)
    got = powers.nearest(values, powers.magnitudes(7))
    assert np.isin(got, grid).all()
    np.testing.assert_array_equal(np.abs(got - values), np.abs(grid[None, :] - values[:, None]).min(axis=1))


def test_numbers_that_are_not_finite_are_refused() -> None:
    path = make_path()
    path.depthwise_weight[2, 1, 1] = np.nan
    with pytest.raises(ArchonError, match="depthwise_weight: expected finite"):
        quantize_value_path(path, INPUT_SCALE)
    with pytest.raises(ArchonError, match="input scale must be positive, got 0"):
        quantize_value_path(make_path(), 0.0)
