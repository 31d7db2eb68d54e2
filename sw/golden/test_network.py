"""Whole networks: both modes give the same integers, layers against plain convolutions, evaluation, command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hw.contract import numerics
from hw.contract.errors import ArchonError
from sw.bundle import save_bundle
from sw.bundle.network import DenseLayer, IntegerNetwork, Requantization
from sw.datasets import load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.golden import dense, evaluate, evaluation, layer_costs, run
from sw.golden.__main__ import app
from sw.golden.exact import exact_type
from sw.spec import load_spec

IMAGES = 5


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(load_spec("fusionet-nano"), 1, Survivors(0.4, 0.3), load_excerpt().images[:1]).network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_excerpt().images[:IMAGES]


def test_both_modes_give_the_same_integers(network: IntegerNetwork, images: np.ndarray) -> None:
    fused = run(network, images, "fused", keep_activations=True)
    layered = run(network, images, "layerwise", keep_activations=True)
    assert list(fused.activations) == list(layered.activations) == [cost.name for cost in layer_costs(network)][1:-1]
    for name, activations in fused.activations.items():
        np.testing.assert_array_equal(activations, layered.activations[name], err_msg=name)
    np.testing.assert_array_equal(fused.logits, layered.logits)
    assert not layered.counts
    assert [len(counts) for counts in fused.counts.values()] == [IMAGES] * 5
    assert all(vars(fused.statistics[name].first) == vars(layered.statistics[name].first) for name in fused.statistics)


def test_no_result_depends_on_the_batch(network: IntegerNetwork, images: np.ndarray) -> None:
    whole, single = (run(network, images, keep_activations=True, batch=batch) for batch in (IMAGES, 2))
    np.testing.assert_array_equal(whole.logits, single.logits)
    np.testing.assert_array_equal(whole.activations["block 5"], single.activations["block 5"])
    assert vars(whole.statistics["block 3"].second) == vars(single.statistics["block 3"].second)


def test_layers_behind_the_blocks_alone(network: IntegerNetwork, images: np.ndarray) -> None:
    result = run(network, images, keep_activations=True)
    assert result.block_inputs is not None
    np.testing.assert_array_equal(result.block_inputs, result.activations["first_depthwise"])
    np.testing.assert_array_equal(result.classes, [logits.tolist().index(logits.max()) for logits in result.logits])


def requantization(channels: int) -> Requantization:
    random = np.random.default_rng(channels)
    return Requantization(
        random.integers(-5000, 5000, channels).astype(np.int32),
        random.integers(1 << 14, 1 << 15, channels).astype(np.int32),
        random.integers(22, 25, channels).astype(np.int8),
    )


def finished(sums: np.ndarray, parts: Requantization, *, relu: bool) -> np.ndarray:
    out = [numerics.requantize(plane + int(parts.bias[c]), parts.multiplier[c], parts.shift[c]) for c, plane in enumerate(sums)]
    return np.maximum(out, 0) if relu else np.array(out)


def test_convolutions_written_out() -> None:
    random = np.random.default_rng(1)
    x = random.integers(-128, 128, (3, 5, 6, 2)).astype(np.int8)
    framed = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    layer = DenseLayer(random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), requantization(4))
    sums = np.zeros((4, 3, 3, 2), dtype=np.int64)
    for k, row, column in np.ndindex(4, 3, 3):
        window = framed[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        sums[k, row, column] = (layer.weight[k][..., None].astype(np.int64) * window).sum(axis=(0, 1, 2))
    np.testing.assert_array_equal(dense.convolution(layer, x, 2), finished(sums, layer.requantization, relu=True))

    layer = DenseLayer(random.integers(-127, 128, (3, 3, 3)).astype(np.int8), requantization(3))
    sums = np.zeros((3, 5, 6, 2), dtype=np.int64)
    for c, row, column in np.ndindex(3, 5, 6):
        window = framed[c, row : row + 3, column : column + 3]
        sums[c, row, column] = (layer.weight[c][..., None].astype(np.int64) * window).sum(axis=(0, 1))
    np.testing.assert_array_equal(dense.depthwise(layer, x), finished(sums, layer.requantization, relu=False))


def test_pointwise_groups_and_shuffle_written_out() -> None:
    random = np.random.default_rng(2)
    x = random.integers(-128, 128, (6, 2, 3, 2)).astype(np.int8)
    layer = DenseLayer(random.integers(-127, 128, (8, 3)).astype(np.int8), requantization(8))
    sums = np.zeros((8, 2, 3, 2), dtype=np.int64)
    for k in range(8):
        for c in range(3):
            sums[k] += int(layer.weight[k, c]) * x[k // 4 * 3 + c].astype(np.int64)
    expected = finished(sums, layer.requantization, relu=True)
    np.testing.assert_array_equal(dense.pointwise(layer, x, 2, shuffle=False), expected)
    np.testing.assert_array_equal(dense.pointwise(layer, x, 2, shuffle=True), expected[[0, 4, 1, 5, 2, 6, 3, 7]])


def test_pool_rounds_halves_away_from_zero() -> None:
    x = np.array([[[[1], [2]]], [[[-1], [-2]]], [[[127], [127]]]], dtype=np.int8)
    half = Requantization(np.zeros(3, dtype=np.int32), np.ones(3, dtype=np.int32), np.ones(3, dtype=np.int8))
    assert dense.pool(half, x).tolist() == [[2], [-2], [127]]


def test_dense_counts_by_hand(network: IntegerNetwork) -> None:
    costs = {cost.name: cost for cost in layer_costs(network)}
    assert sum(cost.multiplications_dense for cost in costs.values()) == network.spec.multiply_accumulates()
    block = network.fused_blocks[1]
    expected = 256 * np.count_nonzero(block.expand_weight)
    expected += 64 * (np.count_nonzero(block.depthwise_weight) + np.count_nonzero(block.project_weight))
    assert costs["block 2"].multiplications_pruned == expected


def test_the_fastest_exact_type() -> None:
    assert exact_type((1 << 24) - 1) is np.float32
    assert exact_type(1 << 24) is np.float64
    with pytest.raises(ArchonError, match="below 2"):
        exact_type(1 << 53)


def test_bad_images_and_modes_are_named(network: IntegerNetwork, images: np.ndarray) -> None:
    with pytest.raises(ArchonError, match=r"expected uint8 \(at least 1, 32, 32, 3\), got uint8 \(5, 32, 31, 3\)"):
        run(network, images[:, :, 1:])
    with pytest.raises(ArchonError, match=r"got float64"):
        run(network, images.astype(np.float64))
    with pytest.raises(ArchonError, match=r"expected layerwise or fused, got 'quick'"):
        run(network, images, "quick")  # type: ignore[arg-type]
    with pytest.raises(ArchonError, match=r"as many labels as images"):
        evaluate(network, images, np.zeros(3, dtype=np.uint8))


def test_evaluation_does_not_depend_on_the_workers(
    network: IntegerNetwork, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    labels = run(network, images).classes
    labels[1] = (labels[1] + 1) % 10
    before = dict(os.environ)
    single, double = (evaluate(network, images, labels, workers=workers) for workers in (1, 2))
    assert single.correct == double.correct == IMAGES - 1
    assert single.accuracy == (IMAGES - 1) / IMAGES
    assert single.blocks == double.blocks
    assert dict(os.environ) == before


def test_command_line(network: IntegerNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "mine.archon"
    save_bundle(network, bundle)
    options = ["--data", "excerpt", "--images", "3", "--mode", "fused", "--workers", "1", "--build", str(tmp_path)]
    assert app(["evaluate", str(bundle), *options], result_action="return_value") == 0
    values = json.loads((tmp_path / "fusionet-nano" / "evaluation.json").read_text())
    assert values["images"] == 3
    assert values["bundle"] == "mine.archon"
    assert values["accuracy"] == values["correct"] / 3
    counted = run(network, load_excerpt().images[:3], "fused").counts
    assert [block["multiplications_executed"] for block in values["blocks"]] == [
        sum(counts.multiplications for counts in counted[f"block {index}"]) / 3 for index in range(1, 6)
    ]
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnet"], "unknown network 'resnet': expected one of"),
        (["absent.archon"], "absent.archon: expected the file of a bundle"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sw.golden", "evaluate", *arguments, "--build", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
