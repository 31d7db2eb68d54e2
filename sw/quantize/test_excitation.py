"""Integer gates follow the float hard sigmoid, and what is multiplied by them the float product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.golden import dense
from sw.quantize.excitation import GATE_SCALE, ExcitationPath, Gates, quantize_gates

INPUT_SCALE = 0.03


def drawn(channels: int, squeezed: int, seed: int, spread: float) -> tuple[ExcitationPath, np.ndarray]:
    """Weights, and int8 activations (images, height, width, channels)."""
    random = np.random.default_rng(seed)
    path = ExcitationPath(
        random.normal(size=(squeezed, channels)), random.normal(size=squeezed),
        spread * random.normal(size=(channels, squeezed)), random.normal(size=channels),
    )  # fmt: skip
    means = random.integers(-60, 61, (4, 1, 1, channels))
    return path, (means + random.integers(-60, 61, (4, 3, 5, channels))).astype(np.int8)


def hard_sigmoid(z: np.ndarray) -> np.ndarray:
    return np.clip((z + 3) / 6, 0, 1)


def float_gates(path: ExcitationPath, x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(x.mean(axis=(1, 2)) @ path.reduce_weight.T + path.reduce_bias, 0)
    return hard_sigmoid(hidden @ path.excite_weight.T + path.excite_bias)


def golden_gates(gates: Gates, x: np.ndarray) -> np.ndarray:
    """(images, channels) int8."""
    means = dense.pool(gates.squeeze, x.transpose(3, 1, 2, 0))
    hidden = dense.pointwise(gates.reduce, means, 1, shuffle=False)
    return dense.pointwise(gates.excite, hidden, 1, shuffle=False).T


def test_gates_follow_the_hard_sigmoid() -> None:
    off = []
    for seed in range(60):
        path, x = drawn(1 + seed % 12, 1 + seed % 5, seed, (0.3, 1.0, 4.0)[seed % 3])
        gates = quantize_gates("block", path, (x * INPUT_SCALE).astype(np.float32), INPUT_SCALE)
        got, expected = golden_gates(gates, x), float_gates(path, x * INPUT_SCALE)
        assert got.min() >= 0
        off.append(np.abs(got * GATE_SCALE - expected).reshape(-1))
        assert np.abs(gates.values - expected).mean() < 4 * GATE_SCALE
    # What is lost: means, hidden values and weights are 8 bits wide, and the largest gate stands for 127/128.
    assert np.concatenate(off).mean() < GATE_SCALE
    assert np.quantile(np.concatenate(off), 0.99) < 8 * GATE_SCALE


def test_gates_reach_both_ends() -> None:
    path = ExcitationPath(np.ones((1, 2)), np.zeros(1), np.array([[9.0], [-9.0]]), np.zeros(2))
    x = np.full((1, 2, 2, 2), 50, dtype=np.int8)
    gates = quantize_gates("block", path, (x * INPUT_SCALE).astype(np.float32), INPUT_SCALE)
    assert golden_gates(gates, x).tolist() == [[127, 0]]


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(0.05, 20), seed=st.integers(0, 999))
def test_products_are_off_by_the_rounding_of_one_weight(factor: float, seed: int) -> None:
    path, x = drawn(5, 2, seed, 1.0)
    gates = quantize_gates("block", path, (x * INPUT_SCALE).astype(np.float32), INPUT_SCALE)
    output_scale = INPUT_SCALE * factor
    parts, integers = gates.excitation("block", INPUT_SCALE, output_scale), golden_gates(gates, x)
    out = dense.scale(parts.scale, x.transpose(3, 1, 2, 0), integers.T).transpose(3, 1, 2, 0)
    exact = x * INPUT_SCALE * integers[:, None, None] * GATE_SCALE / output_scale
    np.testing.assert_allclose(out, np.clip(exact, -128, 127), atol=0.5 + 128 / 128)
    assert parts.scale.weight.min() >= 1 << (numerics.GATE_BITS - 1)


@pytest.mark.parametrize(("factor", "weight", "shift"), [(0.5, 64, 7), (0.75, 96, 7), (0.999, 64, 6), (1.25, 80, 6)])
def test_weights_of_products_by_hand(factor: float, weight: int, shift: int) -> None:
    path, x = drawn(2, 1, 1, 1.0)
    gates = quantize_gates("block", path, (x * INPUT_SCALE).astype(np.float32), INPUT_SCALE)
    scale = gates.excitation("block", 1.0, GATE_SCALE / factor).scale
    assert (scale.weight.tolist(), scale.shift.tolist()) == ([weight] * 2, [shift] * 2)


def test_scales_too_far_apart_are_refused() -> None:
    path, x = drawn(2, 1, 1, 1.0)
    gates = quantize_gates("block", path, (x * INPUT_SCALE).astype(np.float32), INPUT_SCALE)
    for output_scale in (1e-9, 1e15):
        with pytest.raises(ArchonError, match=r"block scale: a factor from 2\*\*-47 to 127 is expected, got"):
            gates.excitation("block", INPUT_SCALE, output_scale)
