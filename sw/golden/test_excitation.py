"""Squeeze-and-excite: by hand, written out with loops, both modes, and where the residual is added."""

from __future__ import annotations

import numpy as np
import pytest

from hw.contract import numerics
from sw.bundle.network import DenseLayer, Excitation, ExcitedBlock, FusedBlock, IntegerNetwork, Scaling, UnfusedBlock
from sw.export.random_network import Survivors, random_network
from sw.golden import NetworkRun, dense, fixed_multiplications, layer_costs, run, run_block
from sw.spec import BlockSpec, NetworkSpec, parse_spec

GATED = {"kernel": 3, "squeeze_and_excite": True, "squeezed_channels": 3}
UNFUSED = GATED | {"kind": "unfused", "groups": 1}
FUSED = GATED | {"groups": 2, "shuffle": True}
BLOCKS = [
    {**UNFUSED, "in_channels": 6, "expanded_channels": 10, "out_channels": 6, "stride": 1, "residual": True},
    {**FUSED, "in_channels": 6, "expanded_channels": 16, "out_channels": 6, "stride": 1, "residual": True},
    {**FUSED, "in_channels": 6, "expanded_channels": 16, "out_channels": 8, "stride": 2, "residual": False},
]
HEIGHT, WIDTH, IMAGES = 9, 7, 3


def excited_spec() -> NetworkSpec:
    return parse_spec({
        "name": "excited", "height": HEIGHT, "width": WIDTH, "channels": 3, "classes": 4, "blocks": BLOCKS,
        "stem": {"channels": 6, "kernel": 3, "stride": 1}, "sparsity": {"pointwise": 0.4, "depthwise": 0.2},
    })  # fmt: skip


def images(count: int = IMAGES) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(excited_spec(), 4, Survivors(0.5, 0.5), images()).network


@pytest.fixture(scope="module")
def result(network: IntegerNetwork) -> NetworkRun:
    return run(network, images(), "fused", keep_activations=True)


def rounded(value: float) -> int:
    return int(np.sign(value) * np.floor(abs(value) + 0.5))


def dense_layer(layer: DenseLayer, x: np.ndarray) -> list[int]:
    sums = [sum(int(w) * int(v) for w, v in zip(row, x, strict=True)) for row in layer.weight]
    return [max(0, value) for value in requantised(sums, layer.requantization)]


def requantised(sums: list[int], parts: object) -> list[int]:
    columns = (getattr(parts, name).tolist() for name in ("bias", "multiplier", "shift"))
    return [min(127, max(-128, rounded((y + b) * m / 2**s))) for y, b, m, s in zip(sums, *columns, strict=True)]


def written_out(parts: Excitation, x: np.ndarray, residual: np.ndarray | None) -> dict[str, np.ndarray]:
    """Every layer's output, x (C, H, W), number by number."""
    means = requantised([int(channel.astype(np.int64).sum()) for channel in x], parts.squeeze)
    hidden = dense_layer(parts.reduce, np.array(means))
    gates = dense_layer(parts.excite, np.array(hidden))
    out = np.zeros(x.shape, dtype=np.int64)
    for (c, row, column), value in np.ndenumerate(x):
        product = int(value) * int(parts.scale.weight[c]) * gates[c] / 2 ** int(parts.scale.shift[c])
        out[c, row, column] = min(127, max(-128, rounded(product)))
    if residual is not None:
        out = np.clip(out + residual, -128, 127)
    return {"squeeze": np.array(means), "reduce": np.array(hidden), "excite": np.array(gates), "scale": out}


def test_gates_by_hand() -> None:
    part = Scaling(np.array([64, 100, 127], dtype=np.int8), np.array([13, 14, 0], dtype=np.int8))
    x = np.array([[[100, -3]], [[-128, 127]], [[1, -1]]], dtype=np.int8)[..., None]
    gates = np.array([[127], [64], [0]], dtype=np.int8)
    # 100 * 64 * 127 / 2**13 = 99.2; 3 * 64 * 127 / 2**13 = 2.98; 128 * 100 * 64 / 2**14 = 50; 127 ... = 49.6; a gate of 0.
    assert dense.scale(part, x, gates)[..., 0].tolist() == [[[99, -3]], [[-50, 50]], [[0, 0]]]
    half = Scaling(np.array([64], dtype=np.int8), np.array([13], dtype=np.int8))
    assert dense.scale(half, x[:1], np.array([[64]], dtype=np.int8))[..., 0].tolist() == [[[50, -2]]]  # 1.5 goes away from 0
    assert numerics.gated(-128, 127, 127, 0) == -128


@pytest.mark.parametrize(
    ("index", "source", "residual"), [(0, "depthwise", None), (1, "fused", "block 1 project"), (2, "fused", None)]
)
def test_excitation_written_out(
    network: IntegerNetwork, result: NetworkRun, index: int, source: str, residual: str | None
) -> None:
    block, name = network.blocks[index], f"block {index + 1}"
    assert isinstance(block, UnfusedBlock | ExcitedBlock)
    assert block.excitation is not None
    gates = set()
    for image in range(IMAGES):
        of = {layer: tensor[image] for layer, tensor in result.activations.items()}
        x, added = of[f"{name} {source}"], None if residual is None else of[residual].astype(np.int64)
        for layer, expected in written_out(block.excitation, x, added).items():
            np.testing.assert_array_equal(of[f"{name} {layer}"], expected, err_msg=layer)
        gates |= set(of[f"{name} excite"].tolist())
    assert len(gates) > 5


def test_both_modes_give_the_same_integers(network: IntegerNetwork, result: NetworkRun) -> None:
    layered = run(network, images(), keep_activations=True, batch=2)
    assert list(result.activations) == [layer.name for layer in network.spec.layers[1:-1]]
    for name, activations in result.activations.items():
        np.testing.assert_array_equal(activations, layered.activations[name], err_msg=name)
    np.testing.assert_array_equal(result.logits, layered.logits)
    assert list(result.counts) == ["block 2 fused", "block 3 fused"]


def test_the_fused_part_has_no_residual(network: IntegerNetwork, result: NetworkRun) -> None:
    block, layer = network.blocks[1], next(layer for layer in network.spec.layers if layer.name == "block 2 fused")
    assert isinstance(block, ExcitedBlock)
    assert isinstance(layer.block, BlockSpec)
    assert isinstance(block.fused, FusedBlock)
    out, counts = run_block(block.fused, layer.block, result.activations["block 1 project"][0])
    np.testing.assert_array_equal(out, result.activations["block 2 fused"][0])
    assert counts == result.counts["block 2 fused"][0]


def test_multiplications_by_hand(network: IntegerNetwork) -> None:
    costs, fixed = {cost.name: cost for cost in layer_costs(network)}, fixed_multiplications(network)
    assert fixed["block 1 scale"] == costs["block 1 scale"].multiplications_pruned == 10 * HEIGHT * WIDTH
    assert fixed["block 1 squeeze"] == 10 * HEIGHT * WIDTH
    assert costs["block 2 reduce"].multiplications_dense == costs["block 2 excite"].multiplications_dense == 6 * 3
    block = network.blocks[1]
    assert isinstance(block, ExcitedBlock)
    assert fixed["block 2 excite"] == np.count_nonzero(block.excitation.excite.weight)
    assert sum(cost.multiplications_dense for cost in costs.values()) == network.spec.multiply_accumulates()
