"""Fused and layer-by-layer execution of random blocks, operation counts, and a block worked out by hand."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract import numerics
from hw.contract.taps import KERNELS
from sw.bundle.network import FusedBlock, Requantization
from sw.golden import BlockCounts, BlockStatistics, random_activation, random_block, run_block, run_block_layerwise
from sw.golden.predictor import excess_levels
from sw.golden.random_block import Survivors
from sw.spec import BlockSpec

MASKS: tuple[Survivors, ...] = ("none", "some", "all")


@st.composite
def block_specs(draw: st.DrawFn) -> BlockSpec:
    groups, stride = draw(st.sampled_from([1, 3, 4])), draw(st.sampled_from([1, 2]))
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    residual = stride == 1 and draw(st.booleans())
    return BlockSpec(
        in_channels=groups * inputs,
        expanded_channels=groups * draw(st.integers(1, 17)),
        out_channels=groups * (inputs if residual else outputs),
        kernel=draw(st.sampled_from(KERNELS)),
        stride=stride,
        groups=groups,
        residual=residual,
        shuffle=draw(st.booleans()),
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """A block and its input."""

    spec: BlockSpec
    block: FusedBlock
    x: np.ndarray


@st.composite
def cases(draw: st.DrawFn) -> Case:
    spec, seed, extreme = draw(block_specs()), draw(st.integers(0, 1 << 32)), draw(st.booleans())
    share = st.sampled_from(MASKS)
    block = random_block(
        spec, seed, draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 1.0])), (draw(share), draw(share)), extreme=extreme
    )
    size = (spec.in_channels, draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    return Case(spec, block, random_activation(size, seed, extreme=extreme))


def literal(case: Case) -> tuple[np.ndarray, BlockCounts]:
    """docs/numerics.md and the counting rules, read aloud: Python integers and loops, nothing shared with the model."""
    spec, block, x = case.spec, case.block, case.x
    groups, kernel = spec.groups, spec.kernel
    inputs, expanded, outputs = (n // groups for n in (spec.in_channels, spec.expanded_channels, spec.out_channels))
    _, height, width = x.shape
    rows, columns = -(-height // spec.stride), -(-width // spec.stride)
    out = np.zeros((spec.out_channels, rows, columns), dtype=np.int64)
    multiplications = additions = steps = 0
    terms = np.vectorize(lambda weight: len(numerics.signed_powers(weight, 30)), otypes=[int])(block.project_weight)
    for g, row, column in product(range(groups), range(rows), range(columns)):
        taps = {
            d: (spec.stride * row + d // kernel - kernel // 2, spec.stride * column + d % kernel - kernel // 2)
            for d in range(kernel * kernel)
        }
        taps = {d: (i, j) for d, (i, j) in taps.items() if 0 <= i < height and 0 <= j < width}
        y = [int(block.requantization.bias[g * outputs + k]) for k in range(outputs)]
        touched = set()
        for e in range(expanded):
            channel = g * expanded + e
            levels, values = {}, {}
            for d, (i, j) in taps.items():
                pixel = [int(v) for v in x[g * inputs : (g + 1) * inputs, i, j]]
                x4 = [min(7, max(-8, (abs(v) + 8) // 16 * (1 if v >= 0 else -1))) for v in pixel]
                excess = sum(int(w) * v for w, v in zip(block.predictor_expand_weight[channel], x4, strict=True))
                excess -= int(block.predictor_expand_threshold[channel])
                step = 1 << int(block.predictor_level_shift[channel])
                levels[d] = min(15, -(-excess // step)) if excess > 0 else 0
                z1 = sum(int(w) * v for w, v in zip(block.expand_weight[channel], pixel, strict=True))
                values[d] = z1 + int(block.expand_bias[channel]) if levels[d] else 0
            ternary = block.predictor_depthwise_weight[channel].reshape(-1)
            if sum(int(ternary[d]) * level for d, level in levels.items()) <= block.predictor_depthwise_threshold[channel]:
                continue
            weight = [int(w) for w in block.depthwise_weight[channel].reshape(-1)]
            a2 = sum(weight[d] * value for d, value in values.items()) + int(block.depthwise_bias[channel])
            owned = any(w * int(block.expand_bias[channel]) for w in weight) or block.depthwise_bias[channel] != 0
            for k in range(outputs):
                source = g * outputs + k
                y[k] += int(block.project_weight[source, e]) * a2
                first_pair = True
                for c in range(inputs):
                    if not block.expand_weight[channel, c] or not block.project_weight[source, e]:
                        continue
                    active = [d for d, level in levels.items() if level and weight[d]]
                    touched |= {(k, c, d) for d in active}
                    if active or (owned and first_pair):
                        steps += -(-int(terms[source, e]) // 2)
                    additions += int(terms[source, e]) * (len(active) + (1 if owned and first_pair else 0))
                    first_pair = False
        multiplications += len(touched)
        for k in range(outputs):
            source = g * outputs + k
            scaled, shift = y[k] * int(block.requantization.multiplier[source]), int(block.requantization.shift[source])
            half = (1 << shift) >> 1
            value = ((abs(scaled) + half) >> shift) * (1 if scaled >= 0 else -1)
            target = k * groups + g if spec.shuffle else source
            out[target, row, column] = min(127, max(-128, value))
    if spec.residual:
        out = np.clip(out + x, -128, 127)
    return out, BlockCounts(multiplications, additions, steps)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cases())
def test_fused_equals_layer_by_layer(case: Case) -> None:
    fused, _ = run_block(case.block, case.spec, case.x)
    layered = run_block_layerwise(case.block, case.spec, case.x)
    np.testing.assert_array_equal(fused, layered)
    assert fused.dtype == layered.dtype == np.int8


@pytest.mark.parametrize("seed", range(40))
def test_output_and_counts_equal_the_rules_read_aloud(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, stride = int(rng.choice([1, 3, 4])), int(rng.choice([1, 2]))
    residual = bool(stride == 1 and rng.random() < 0.5)
    inputs = int(rng.integers(1, 4))
    spec = BlockSpec(
        in_channels=groups * inputs, expanded_channels=groups * int(rng.integers(1, 9)),
        out_channels=groups * (inputs if residual else int(rng.integers(1, 4))),
        kernel=int(rng.choice(KERNELS)), stride=stride, groups=groups, residual=residual, shuffle=bool(rng.random() < 0.5),
    )  # fmt: skip
    extreme = bool(rng.random() < 0.3)
    block = random_block(spec, seed, float(rng.choice([0.2, 0.5, 0.8])), extreme=extreme)
    size = (spec.in_channels, int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    case = Case(spec, block, random_activation(size, seed, extreme=extreme))
    expected, counts = literal(case)
    got, got_counts = run_block(block, spec, case.x)
    np.testing.assert_array_equal(got, expected)
    assert got_counts == counts
    np.testing.assert_array_equal(run_block_layerwise(block, spec, case.x), expected)


def test_masks_of_none_and_all() -> None:
    spec = BlockSpec(
        in_channels=4, expanded_channels=12, out_channels=4, kernel=3, stride=1, groups=1, residual=False, shuffle=False
    )
    x = random_activation((4, 5, 4), 1)
    shares = {}
    for masks in product(MASKS[::2], MASKS[::2]):
        statistics = BlockStatistics()
        run_block_layerwise(random_block(spec, 3, survivors=masks), spec, x, statistics)
        shares[masks] = (statistics.first.survivor_share, statistics.second.survivor_share)
    assert shares == {
        ("none", "none"): (0, 0), ("none", "all"): (0, 1), ("all", "none"): (1, 0), ("all", "all"): (1, 1)
    }  # fmt: skip
    _, counts = run_block(random_block(spec, 3, survivors=("all", "none")), spec, x)
    assert counts == BlockCounts(0, 0, 0)
    block = random_block(spec, 3, survivors=("none", "all"))
    _, counts = run_block(block, spec, x)
    assert counts.multiplications == 0
    assert counts.steps > 0  # of the pairs that own biases
    zeros = np.zeros_like(block.depthwise_bias)
    _, counts = run_block(dataclasses.replace(block, depthwise_bias=zeros, expand_bias=zeros), spec, x)
    assert counts == BlockCounts(0, 0, 0)


def hand_worked() -> tuple[FusedBlock, BlockSpec, np.ndarray]:
    """One input channel, two expanded ones and one output, on an image of one row and two columns."""
    kernel = np.zeros((2, 3, 3), dtype=np.int8)
    kernel[0, 1] = [2, 3, -1]
    kernel[1, 1, 1] = 5
    ternary = np.zeros((2, 3, 3), dtype=np.int8)
    ternary[:, 1, 1] = 1
    block = FusedBlock(
        expand_weight=np.array([[4], [-2]], dtype=np.int8),
        expand_bias=np.array([10, 0], dtype=np.int32),
        depthwise_weight=kernel,
        depthwise_bias=np.array([7, 0], dtype=np.int32),
        project_weight=np.array([[3, 64]], dtype=np.int32),
        requantization=Requantization(
            np.array([-100], dtype=np.int32), np.array([1 << 14], dtype=np.int32), np.array([20], dtype=np.int8)
        ),
        predictor_expand_weight=np.array([[1], [-1]], dtype=np.int8),
        predictor_expand_threshold=np.array([0, 1], dtype=np.int32),
        predictor_level_shift=np.array([0, 1], dtype=np.int8),
        predictor_depthwise_weight=ternary,
        predictor_depthwise_threshold=np.array([1, 0], dtype=np.int32),
    )
    spec = BlockSpec(
        in_channels=1, expanded_channels=2, out_channels=1, kernel=3, stride=1, groups=1, residual=False, shuffle=False
    )
    return block, spec, np.array([[[40, -56]]], dtype=np.int8)


def test_a_block_worked_out_by_hand() -> None:
    # x4 = 40 / 16 = 2.5 and -3.5, halves away from zero: 3 and -4.
    # Channel 0: u = 3, -4, so r1 = 3, 0; s2 = 3 > 1 survives, 0 does not.
    # Channel 1: u = -3 - 1, 4 - 1, so r1 = 0, ceil(3 / 2) = 2; s2 = 0 does not survive, 2 > 0 does.
    # Pixel 0, channel 0: a1 = 4 * 40 + 10 = 170 left, nothing right; a2 = 3 * 170 + 7 = 517; y = 3 * 517 - 100 = 1451;
    # 1451 * 2**14 / 2**20 = 22.67, so 23.
    # Pixel 1, channel 1: a1 = 112; a2 = 5 * 112 = 560; y = 64 * 560 - 100 = 35740; / 64 = 558.4, saturated to 127.
    block, spec, x = hand_worked()
    out, counts = run_block(block, spec, x)
    assert out.tolist() == [[[23, 127]]]
    assert run_block_layerwise(block, spec, x).tolist() == [[[23, 127]]]
    # Pixel 0: 3 = 4 - 1 is one step of two terms, one tap each, and two for the bias. Pixel 1: 64 is one term of one tap, no
    # bias.
    assert counts == BlockCounts(multiplications=2, additions=5, steps=2)


def test_agreement_with_the_true_signs_worked_out_by_hand() -> None:
    # z1 = 170, -214 and -80, 112: the first masks 1, 0 and 0, 1 are all right. z2 = 517, 347 and 0, 560: the second masks
    # 1, 0 and 0, 1 are wrong once, where channel 0 does not survive at pixel 1.
    block, spec, x = hand_worked()
    statistics = BlockStatistics()
    run_block_layerwise(block, spec, x, statistics)
    assert (statistics.first.survivor_share, statistics.first.agreement) == (0.5, 1)
    assert (statistics.second.survivor_share, statistics.second.agreement) == (0.5, 0.75)


def test_cancelling_terms_touch_an_entry() -> None:
    block, spec, x = hand_worked()
    # Both channels survive everywhere and their products 3 * 3 * 4 and 1 * 18 * -2 cancel under the middle tap.
    kernel = np.zeros((2, 3, 3), dtype=np.int8)
    kernel[:, 1, 1] = [3, 18]
    thresholds = np.array([-100, -100], dtype=np.int32)
    zeros = np.zeros(2, dtype=np.int32)
    block = dataclasses.replace(
        block, depthwise_weight=kernel, project_weight=np.array([[3, 1]], dtype=np.int32),
        expand_bias=zeros, depthwise_bias=zeros,
        predictor_expand_threshold=thresholds, predictor_depthwise_threshold=thresholds,
    )  # fmt: skip
    out, counts = run_block(block, spec, x)
    assert out.tolist() == [[[-2, -2]]]  # -100 / 64, away from zero
    assert counts == BlockCounts(multiplications=2, additions=6, steps=4)


def test_float_levels_equal_the_contract() -> None:
    sums, shifts = np.arange(-600, 601), np.arange(8)
    thresholds = np.array([-512, -3, 0, 1, 7, 511])
    for shift, threshold in product(shifts, thresholds):
        expected = numerics.predictor_level(sums - threshold, shift)
        got = excess_levels(sums.astype(np.float32)[None], np.array([threshold]), np.array([shift], dtype=np.int8))
        np.testing.assert_array_equal(got[0], expected)
