"""Layers that are not fused, with random weights, what they compute, and the programs that they are tested in."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig, preset
from hw.contract.taps import tap_places
from sw.bundle.network import DenseLayer, Requantization
from sw.golden.random_block import random_block
from sw.program import FixedGroup, FixedLayer, PlacedBlock
from sw.program.network import dense_layer, depthwise_layer, pointwise_layer, pool_layer
from sw.spec import BlockSpec
from tb import block_cases

TINY = preset("tiny")

SHARED = ("one_cluster_two_lanes", "three_clusters_one_lane", "two_clusters_eight_lanes")
"""Variants of the tests of blocks, whose models are there."""

VARIANTS: dict[str, ArchonConfig] = {
    **{name: block_cases.VARIANTS[name] for name in SHARED},
    "two_clusters_that_cut_layers": dataclasses.replace(
        TINY,
        clusters=2,
        depths=dataclasses.replace(TINY.depths, activation=64, accumulator=8, output=4, step=40, pair=24, turned_slices=32),
    ),
    "two_clusters_two_lanes_kernel_five": dataclasses.replace(
        TINY, clusters=2, kernel=5, depths=dataclasses.replace(TINY.depths, accumulator=8, step=80)
    ),
}
"""Hardware that the cases run on; the fourth has memories so small that bands, parts and chains of jobs are needed.

Those of a smaller kernel leave out the cases of a larger one.
"""


@dataclass(frozen=True)
class FixedCase:
    """One program of one or more layers and how external memory behaves while it runs.

    Args:
        name: For messages.
        layers: (kind, output channels, groups, stride, shuffle) of each: "pointwise", "convolution", "depthwise", "pool",
            "dense", "sums" (raw without a sum over pixels) or "block"; the numbers that a kind has no use for are ignored.
        channels: Of the input.
        height: Rows of the input.
        width: Columns of the input.
        weights: "some", "extreme" (-128, -127, 127 and 0), "few" (nearly all zero) or "none".
        idle: As in tb.programs.Circumstances.
        back_pressure: As there.
        latency: As there.
        kernel: Of convolutions, depthwise layers and blocks.
    """

    name: str
    layers: tuple[tuple[str, int, int, int, bool], ...]
    channels: int
    height: int
    width: int
    weights: str = "some"
    idle: str = "never"
    back_pressure: str = "never"
    latency: tuple[int, int] = (1, 8)
    kernel: int = 3


POOL = ("pool", 0, 0, 0, False)

CASES: tuple[FixedCase, ...] = (
    FixedCase("pointwise", (("pointwise", 5, 1, 1, False),), 4, 4, 4),
    FixedCase("pointwise, groups, shuffle", (("pointwise", 9, 3, 1, True),), 12, 4, 5, idle="rarely"),
    FixedCase("pointwise, 13 channels", (("pointwise", 4, 1, 1, False),), 13, 3, 4, back_pressure="rarely"),
    FixedCase("depthwise", (("depthwise", 0, 0, 1, False),), 9, 7, 5, idle="mostly"),
    FixedCase("depthwise, stride 2, odd", (("depthwise", 0, 0, 2, False),), 3, 7, 5, back_pressure="mostly"),
    FixedCase("depthwise, stride 2, even", (("depthwise", 0, 0, 2, False),), 8, 6, 4, latency=(1, 60)),
    FixedCase("depthwise, parts of unequal size", (("depthwise", 0, 0, 2, False),), 24, 8, 5),
    FixedCase("convolution", (("convolution", 4, 1, 1, False),), 3, 5, 6, idle="bursts", back_pressure="bursts"),
    FixedCase("convolution, stride 2", (("convolution", 3, 1, 2, False),), 3, 6, 7),
    FixedCase("pool, odd", (POOL,), 11, 7, 5, idle="rarely", back_pressure="rarely"),
    FixedCase("pool, even", (POOL,), 8, 4, 6, latency=(30, 30)),
    FixedCase("pool, tall", (POOL,), 2, 21, 7, idle="mostly"),
    FixedCase("pool, one pixel", (POOL,), 3, 1, 1),
    FixedCase("pool, one row", (POOL,), 2, 1, 9),
    FixedCase("dense", (("dense", 10, 0, 0, False),), 7, 1, 1),
    FixedCase("dense, many inputs", (("dense", 5, 0, 0, False),), 45, 1, 1, idle="rarely", back_pressure="mostly"),
    FixedCase("sums of each pixel", (("sums", 5, 1, 1, False),), 3, 2, 3, back_pressure="bursts"),
    FixedCase("one column", (("convolution", 2, 1, 1, False),), 2, 6, 1),
    FixedCase("one pixel", (("convolution", 2, 1, 2, False),), 2, 1, 1),
    FixedCase("extreme weights", (("convolution", 3, 1, 1, False), ("pointwise", 4, 1, 1, False)), 2, 4, 3, "extreme"),
    FixedCase("extreme sums", (POOL, ("dense", 3, 0, 0, False)), 9, 3, 3, "extreme"),
    FixedCase("few weights", (("pointwise", 6, 2, 1, True), ("depthwise", 0, 0, 1, False)), 6, 3, 3, "few"),
    FixedCase("no weights", (("pointwise", 3, 1, 1, False), ("dense", 2, 0, 0, False)), 3, 1, 1, "none"),
    FixedCase(
        "all kinds around blocks",
        (
            ("convolution", 4, 1, 2, False), ("pointwise", 8, 2, 1, True), ("depthwise", 0, 0, 1, False),
            ("block", 4, 2, 1, True), ("block", 4, 1, 2, False), ("pointwise", 10, 2, 1, False), POOL,
            ("dense", 6, 0, 0, False),
        ),
        3, 9, 10, idle="rarely", back_pressure="rarely", latency=(1, 30),
    ),
    FixedCase("depthwise, 5x5", (("depthwise", 0, 0, 1, False),), 5, 7, 5, idle="rarely", kernel=5),
    FixedCase("depthwise, 5x5, stride 2, odd", (("depthwise", 0, 0, 2, False),), 9, 9, 7, back_pressure="bursts", kernel=5),
    FixedCase("depthwise, 5x5, stride 2, even", (("depthwise", 0, 0, 2, False),), 4, 8, 6, latency=(1, 60), kernel=5),
    FixedCase("depthwise, 5x5, small image", (("depthwise", 0, 0, 1, False),), 2, 2, 3, "extreme", idle="bursts", kernel=5),
    FixedCase("convolution, 5x5", (("convolution", 3, 1, 2, False),), 2, 7, 8, back_pressure="rarely", kernel=5),
    FixedCase(
        "5x5 kernels between others",
        (
            ("pointwise", 6, 2, 1, True), ("depthwise", 0, 0, 2, False), ("block", 4, 2, 1, True),
            ("pointwise", 9, 1, 1, False), POOL, ("dense", 4, 0, 0, False),
        ),
        8, 9, 8, idle="rarely", back_pressure="rarely", latency=(1, 40), kernel=5,
    ),
)  # fmt: skip


def cases_of(config: ArchonConfig) -> list[FixedCase]:
    """Those whose kernel the hardware has."""
    return [case for case in CASES if case.kernel <= config.kernel]


def make_layers(case: FixedCase, config: ArchonConfig, seed: int) -> list[PlacedBlock | FixedLayer]:
    """Random weights for the layers of a case, for the lanes of a configuration."""
    random, layers, shape = (
        np.random.default_rng(seed),
        list[PlacedBlock | FixedLayer](),
        (case.channels, case.height, case.width),
    )
    for number, (kind, outputs, groups, stride, shuffle) in enumerate(case.layers, start=1):
        name, inputs = f"layer {number}, {kind}", shape[0]
        if kind == "block":
            spec = BlockSpec(
                in_channels=inputs, expanded_channels=8, out_channels=outputs, kernel=case.kernel, stride=stride,
                groups=groups, residual=False, shuffle=shuffle,
            )  # fmt: skip
            layers.append(PlacedBlock(name, random_block(spec, seed + number, 0.7), spec, *shape[1:]))
            shape = (outputs, -(-shape[1] // stride), -(-shape[2] // stride))
            continue
        layer = _fixed_layer(name, kind, shape, (outputs, groups, stride), case, config.lanes, random, shuffle)
        layers.append(layer)
        shape = layer.output_shape
    return layers


def _fixed_layer(
    name: str, kind: str, shape: tuple[int, int, int], sizes: tuple[int, int, int], case: FixedCase, lanes: int,
    random: np.random.Generator, shuffle: bool,
) -> FixedLayer:  # fmt: skip
    outputs, groups, stride = sizes
    inputs, weights, taps = shape[0], case.weights, case.kernel**2
    if kind == "pool":
        return pool_layer(name, _requantization(random, inputs, shape[1] * shape[2] * 128), shape)
    if kind == "dense":
        bias = random.integers(-(10**6), 10**6, outputs).astype(np.int32)
        return dense_layer(name, _random_weight(random, (outputs, inputs), weights), bias)
    if kind == "depthwise":
        weight = _random_weight(random, (inputs, case.kernel, case.kernel), weights)
        return depthwise_layer(name, DenseLayer(weight, _requantization(random, inputs, taps * 5000)), shape, stride)
    if kind == "pointwise":
        weight = _random_weight(random, (outputs, inputs // groups), weights)
        layer = DenseLayer(weight, _requantization(random, outputs, 5000 * inputs // groups))
        return pointwise_layer(name, layer, shape, groups, lanes, shuffle=shuffle)
    weight = _random_weight(random, (outputs, inputs, taps), weights)
    requantization = _requantization(random, outputs, 5000 * inputs * taps)
    if kind == "sums":
        ones, zeros = np.ones(outputs, np.int32), np.zeros(outputs, np.int8)
        requantization = Requantization(requantization.bias, ones, zeros)
    group = FixedGroup(0, weight, requantization, np.arange(outputs))
    return FixedLayer(name, shape, (group,), stride=stride, relu=kind == "convolution", raw=kind == "sums")


def _random_weight(random: np.random.Generator, shape: tuple[int, ...], kind: str) -> NDArray[np.int8]:
    if kind == "extreme":
        return random.choice([-128, -127, 127, 127, 0], shape).astype(np.int8)
    kept = {"some": 0.6, "few": 0.1, "none": 0.0}[kind]
    return (random.integers(-127, 128, shape) * (random.random(shape) < kept)).astype(np.int8)


def _requantization(random: np.random.Generator, channels: int, largest: int) -> Requantization:
    """Activations of any size for sums up to about `largest`, some of them saturated."""
    factors = [numerics.quantize_multiplier(float(random.uniform(50, 400)) / largest) for _ in range(channels)]
    bias = random.integers(-largest // 4, largest // 4 + 1, channels).astype(np.int32)
    multipliers, shifts = np.array(factors).T
    return Requantization(bias, multipliers.astype(np.int32), shifts.astype(np.int8))


def run_layer(layer: FixedLayer, x: NDArray[np.integer]) -> tuple[NDArray[np.int64], int]:
    """The output (channels, height, width) of a layer, tap by tap, and the multiplications: weights inside the image."""
    places, reach = tap_places(layer.kernel), layer.kernel // 2
    frame = ((0, 0), (reach, reach), (reach, reach))
    framed, inside = (np.pad(array, frame).astype(np.int64) for array in (x, np.ones_like(x)))
    out = np.zeros(layer.output_shape, dtype=np.int64)
    multiplications = 0
    for group in layer.groups:
        rows = slice(group.first_input, group.first_input + group.weight.shape[1])
        sums = np.zeros((len(group.weight), *_strided(framed, (0, 0), layer).shape[1:]), dtype=np.int64)
        for tap, place in enumerate(places):
            weight = group.weight[:, :, tap].astype(np.int64)
            sums += np.einsum("kc,cyx->kyx", weight, _strided(framed[rows], place, layer))
            multiplications += int(np.einsum("kc,cyx->", weight != 0, _strided(inside[rows], place, layer)))
        if layer.summed:
            sums = sums.sum(axis=(1, 2), keepdims=True)
        parts = group.requantization
        sums += parts.bias[:, None, None]
        if not layer.raw:
            sums = numerics.requantize(sums, parts.multiplier[:, None, None], parts.shift[:, None, None])
        out[group.channels] = np.maximum(sums, 0) if layer.relu else sums
    return out, multiplications


def _strided(framed: NDArray[np.int64], place: tuple[int, int], layer: FixedLayer) -> NDArray[np.int64]:
    """What lies under a tap at every output pixel."""
    reach = layer.kernel // 2
    row, column = place[0] + reach, place[1] + reach
    height, width = framed.shape[1] - 2 * reach, framed.shape[2] - 2 * reach
    return framed[:, row : row + height : layer.stride, column : column + width : layer.stride]
