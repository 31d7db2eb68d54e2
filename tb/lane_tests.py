"""One lane: its share of y for random weights, masks and activations, and its counters."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.tables import PER_LANE, table_depth, table_layout
from hw.contract.taps import SMALL_CENTRE, SMALL_TAPS, tap_places
from sw.bundle.network import FusedBlock, Requantization
from sw.program import PlacedBlock, build_image
from sw.program.tables import GroupWeights, bias_owners, group_weights
from sw.spec import BlockSpec
from tb.bench import Bench, configuration
from tb.buses import LaneActivationWriter, TableWriter
from tb.layouts import slice_word
from tb.streams import Number, Scoreboard, pattern, stalls
from tb.tables import places, segment_rows

Integers = NDArray[np.int64]
PARTIAL = Number(numerics.OUTPUT_ACCUMULATOR_BITS, signed=True)
WEIGHTS = [0, 0, 1, -1, 2, 3, -5, 7, 11, -64, -85, 91, 128, 127]
"""Values of W2: none to four signed powers of two."""


@dataclass(frozen=True)
class Case:
    """A group, its image and the shares of survivors of both layers; `fixed`: all survive, at one pixel.

    With `channel_taps` or `depthwise` (descriptor.JOB) `inputs` counts turns times lanes, and the lane has other activations.
    """

    inputs: int
    expanded: int
    outputs: int
    height: int
    width: int
    stride: int
    shares: tuple[float, float]
    zeros: float = 0.5
    kernel: int = 3
    fixed: bool = False
    channel_taps: bool = False
    depthwise: bool = False


CASES = (
    Case(4, 12, 3, 5, 4, 1, (0.5, 0.4)),
    Case(3, 9, 5, 7, 5, 2, (0.6, 0.3)),
    Case(1, 10, 2, 3, 3, 1, (0.5, 0.5)),
    Case(5, 13, 4, 4, 5, 1, (1.0, 1.0)),
    Case(4, 8, 4, 3, 4, 2, (0.4, 0.0)),
    Case(4, 8, 4, 3, 4, 1, (0.0, 1.0)),
    Case(6, 11, 3, 4, 4, 1, (0.7, 0.6), 0.97),
    Case(2, 16, 1, 1, 1, 1, (0.8, 0.8), 0.0),
    Case(5, 7, 3, 5, 4, 1, (1.0, 1.0), 0.8, fixed=True),
    Case(4, 12, 3, 5, 4, 1, (0.5, 0.4)),
    Case(3, 8, 4, 7, 5, 2, (1.0, 1.0), fixed=True),
    Case(2, 9, 2, 4, 6, 2, (1.0, 1.0), fixed=True),
    Case(6, 4, 5, 1, 1, 1, (1.0, 1.0), 0.0, fixed=True),
    Case(3, 6, 2, 1, 7, 2, (1.0, 1.0), fixed=True),
    Case(3, 6, 2, 6, 1, 1, (1.0, 1.0), fixed=True),
    Case(4, 5, 2, 3, 3, 1, (1.0, 1.0), 1.0, fixed=True),
    Case(4, 9, 5, 3, 4, 1, (1.0, 1.0), 0.6, fixed=True, channel_taps=True),
    Case(2, 12, 3, 5, 5, 2, (1.0, 1.0), 0.3, fixed=True, channel_taps=True),
    Case(1, 11, 4, 5, 4, 1, (1.0, 1.0), 0.5, fixed=True, depthwise=True),
    Case(2, 9, 7, 4, 5, 2, (1.0, 1.0), 0.2, fixed=True, depthwise=True),
    Case(4, 12, 3, 5, 6, 1, (0.6, 0.5), kernel=5),
    Case(3, 9, 5, 7, 5, 2, (0.7, 0.6), kernel=5),
    Case(2, 7, 3, 1, 2, 1, (1.0, 1.0), 0.2, kernel=5),
    Case(3, 8, 2, 6, 7, 1, (1.0, 1.0), kernel=5, fixed=True),
    Case(2, 9, 4, 7, 4, 2, (1.0, 1.0), 0.2, kernel=5, fixed=True, depthwise=True),
    Case(4, 12, 3, 5, 4, 1, (0.5, 0.4)),
)


@dataclass(frozen=True)
class Masks:
    """m1 (pixels of the output, E, taps) and m2 (pixels of the output, E)."""

    first: NDArray[np.bool_]
    second: NDArray[np.bool_]


@cocotb.test()
@cocotb.parametrize(stalls())
async def share_of_every_output(dut: Any, idle: str, back_pressure: str) -> None:
    """Jobs of many shapes in a row, the first one cut short: every partial sum and the counters of every job."""
    bench = Bench(dut, "lane", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = dut.job.value = dut.rows_loaded.value = dut.loaded.value = 0
    words = bench.source("words", slice_word(config))
    partials = bench.sink("partials", PARTIAL)
    tables = TableWriter(dut, idle=pattern("rarely", bench.random))
    activations = LaneActivationWriter(dut, idle=pattern("rarely", bench.random))
    await bench.reset()
    cases = [case for case in (CASES[0], *CASES) if case.kernel <= config.kernel]
    for number, case in enumerate(cases):
        item = PlacedBlock(f"case {number}", random_block(case, random), block_spec(case), case.height, case.width)
        image = build_image([item], dataclasses.replace(config, clusters=1))
        fields = image.network_program.jobs[0].fields
        flags = {name: int(getattr(case, name)) for name in ("fixed", "channel_taps", "depthwise")}
        dut.job.value = JOB.pack({**fields, **flags, "half": number % 2})
        tables.half = number % 2
        lane = bench.random.randrange(config.lanes)
        place = (fields["table_address"], fields["table_words"])
        rows = segment_rows(image.words, *place, config, fields)
        for kind in PER_LANE:
            await tables.write(kind, rows[kind, lane], places=places(kind, rows[kind, lane], config))
        tensor = random.integers(-128, 128, (case.inputs, case.height, case.width))
        in_lane = tensor[lane :: config.lanes]
        if case.channel_taps or case.depthwise:  # channels of the lane alone, more of them than turns
            count = SMALL_TAPS * len(in_lane) if case.channel_taps else case.outputs
            in_lane = random.integers(-128, 128, (count, case.height, case.width))
        if not case.fixed:
            await activations.write(in_lane.reshape(len(in_lane), case.height * case.width))
        dut.rows_loaded.value, dut.loaded.value = case.height * (not case.fixed), int(not case.fixed)
        weights = group_weights(item.block, item.spec, 0).used
        expanded = len(weights.expand_weight)
        masks = full_masks(case, expanded) if case.fixed else random_masks(case, expanded, random)
        channels = slice(lane, None, config.lanes)
        owned = bias_owners(weights, config.lanes) == lane
        if case.fixed:
            expected, counted = fixed_sums(weights, masks, in_lane, case, channels, owned)
        else:
            expected = partial_sums(weights, masks, windows(tensor, case), channels, owned)
            counted = counters(weights, masks, channels, owned)
        board = bench.follow(Scoreboard(f"case {number}", expected.reshape(-1).tolist(), place_in(case)))
        partials.on_item = board.check
        await bench.pulse("start")
        tables.half ^= 1
        next_tables = cocotb.start_soon(write_rubbish(tables, config, random.spawn(1)[0]))
        words.send(*slice_words(masks, config))
        if number == 0:  # a reset in the middle leaves accumulators full of rubbish
            await bench.until(lambda: board.count > case.outputs, f"sums of case {number}")  # noqa: B023
            await bench.reset(words)
            next_tables.cancel()
            continue
        if case.fixed:
            await load_rows(bench, activations, case, in_lane, board)
        await bench.until(lambda: board.complete, f"sums of case {number}")  # noqa: B023 - awaited within the turn
        await next_tables
        await bench.cycles(10)
        got = {name: int(dut[name].value) for name in ("multiplications", "additions", "steps")}
        assert got == counted, f"case {number}: counters {got}, expected {counted}"


async def load_rows(bench: Bench, activations: LaneActivationWriter, case: Case, in_lane: Integers, board: Scoreboard) -> None:
    """Write the activations while the job runs: no row before all outputs that need none of it have come."""
    dut, below = bench.dut, 0 if case.channel_taps else case.kernel // 2
    columns, pixels = -(-case.width // case.stride), in_lane.reshape(len(in_lane), case.height * case.width)
    for row in range(case.height):
        done = max(0, (row - below + case.stride - 1) // case.stride) * columns * case.outputs
        await bench.until(lambda: board.count >= done, f"the outputs that need no row from {row} on")  # noqa: B023
        await activations.write(pixels, row * case.width, (row + 1) * case.width)
        dut.rows_loaded.value = row + 1
    dut.loaded.value = 1


async def write_rubbish(tables: TableWriter, config: ArchonConfig, random: np.random.Generator) -> None:
    """Fill the half that the job does not use, as happens while it runs."""
    for kind in PER_LANE:
        bits = table_layout(kind, config).width
        rows = [int.from_bytes(random.bytes(-(-bits // 8)), "little") >> (-bits % 8) for _ in range(table_depth(kind, config))]
        await tables.write(kind, rows)


def place_in(case: Case) -> Any:
    """Names the output that a partial sum belongs to."""
    columns = -(-case.width // case.stride)

    def place(index: int) -> str:
        pixel, channel = divmod(index, case.outputs)
        row, column = divmod(pixel, columns)
        return f"row {row}, column {column}, channel {channel}"

    return place


def block_spec(case: Case) -> BlockSpec:
    """One group and nothing behind the sums."""
    return BlockSpec(
        in_channels=case.inputs, expanded_channels=case.expanded, out_channels=case.outputs, kernel=case.kernel,
        stride=case.stride, groups=1, residual=False, shuffle=False,
    )  # fmt: skip


def random_block(case: Case, random: np.random.Generator) -> FusedBlock:
    """Sparse weights, large but such that accumulators of 18 bits hold any sum."""
    expanded = case.expanded

    def sparse(shape: Any, limit: int, dtype: Any = np.int8) -> NDArray[Any]:
        return (random.integers(-limit, limit + 1, shape) * (random.random(shape) >= case.zeros)).astype(dtype)

    limit = 15 if expanded % 2 else 7
    largest = (1 << 17) // (expanded * limit**2)
    project = [value for value in WEIGHTS if abs(value) <= largest]
    return FusedBlock(
        expand_weight=sparse((expanded, case.inputs), limit),
        expand_bias=sparse(expanded, 8000, np.int32),
        depthwise_weight=sparse((expanded, case.kernel, case.kernel), limit),
        depthwise_bias=sparse(expanded, 1 << 20, np.int32),
        project_weight=random.choice(project, (case.outputs, expanded)).astype(np.int32),
        requantization=Requantization(
            np.zeros(case.outputs, np.int32), np.ones(case.outputs, np.int32), np.zeros(case.outputs, np.int8)
        ),
        predictor_expand_weight=sparse((expanded, case.inputs), 1),
        predictor_expand_threshold=np.zeros(expanded, np.int32),
        predictor_level_shift=np.zeros(expanded, np.int8),
        predictor_depthwise_weight=sparse((expanded, case.kernel, case.kernel), 1),
        predictor_depthwise_threshold=np.zeros(expanded, np.int32),
    )


def random_masks(case: Case, expanded: int, random: np.random.Generator) -> Masks:
    """Masks of an image: m1 of a tap is that of the input pixel under it, and 0 outside the image."""
    first = random.random((expanded, case.height, case.width)) < case.shares[0]
    windowed = windows(first.astype(np.int64), case)
    second = random.random((windowed.shape[0], expanded)) < case.shares[1]
    return Masks(windowed != 0, second)


def full_masks(case: Case, expanded: int) -> Masks:
    """Masks of one pixel at which everything survives."""
    return Masks(np.ones((1, expanded, case.kernel**2), dtype=bool), np.ones((1, expanded), dtype=bool))


def windows(tensor: Integers, case: Case) -> Integers:
    """(channels, height, width) to (output pixels, channels, taps), zeros outside the image."""
    reach = case.kernel // 2
    padded = np.pad(tensor, ((0, 0), (reach, reach), (reach, reach)))
    centres = [(y, x) for y in range(0, case.height, case.stride) for x in range(0, case.width, case.stride)]
    places = [(reach + below, reach + right) for below, right in tap_places(case.kernel)]
    return np.array([np.stack([padded[:, y + row, x + column] for row, column in places], axis=1) for y, x in centres])


def slice_words(masks: Masks, config: ArchonConfig) -> list[dict[str, Any]]:
    """The slice words of all pixels; padded channels have m1 set and m2 clear, and so have taps that the kernel lacks."""
    channels, taps_of_case = config.slice_channels, masks.first.shape[2]
    powers, others = 1 << np.arange(taps_of_case), (1 << config.taps) - (1 << taps_of_case)
    slices = -(-masks.second.shape[1] // channels)
    words = []
    for first, second in zip(masks.first @ powers, masks.second, strict=True):
        for index in range(slices):
            part = slice(index * channels, (index + 1) * channels)
            taps = np.full(channels, (1 << config.taps) - 1)
            taps[: len(first[part])] = first[part] | others
            bits = int(second[part] @ (1 << np.arange(len(second[part]))))
            words.append({"second": bits, "first": taps, "last": int(index == slices - 1)})
    return words


def partial_sums(weights: GroupWeights, masks: Masks, window: Integers, channels: slice, owned: Any) -> Integers:
    """(pixels, K): y without b3, of the lane's channels and the biases it owns, one layer after the other."""
    first = masks.first.astype(np.int64)
    pairs = weights.expand_weight * weights.pairs
    z1 = np.einsum("ec,pcd->ped", pairs[:, channels], window[:, channels])
    z1 += (weights.expand_bias * owned)[:, None]
    z2 = (first * z1 * weights.depthwise_weight).sum(axis=2) + weights.depthwise_bias * owned
    return (z2 * masks.second) @ weights.project_weight.T


def fixed_sums(
    weights: GroupWeights, masks: Masks, in_lane: Integers, case: Case, channels: slice, owned: Any
) -> tuple[Integers, dict[str, int]]:
    """(pixels, K) of a fixed job, whose A is that of one pixel where everything survives; and the counters.

    Args:
        weights: Of the group.
        masks: All set.
        in_lane: (channels of the lane, height, width) activations.
        case: Of the job.
        channels: Which turns and lanes of the weights are the lane's.
        owned: (E,), which biases are the lane's.
    """
    pairs = (weights.expand_weight * weights.pairs)[:, channels]
    terms = weights.project_weight.T[:, :, None, None] * (pairs[:, :, None] * weights.depthwise_weight[:, None])[:, None]
    entries, touched = terms.sum(axis=0), (terms != 0).any(axis=0)  # (K, C of the lane, taps)
    biases = (weights.depthwise_bias + weights.bias_products.sum(axis=1)) * owned
    factors = []
    for tensor in (in_lane, np.ones_like(in_lane)):
        window = windows(tensor, case)  # (pixels, channels, taps)
        if case.channel_taps:
            window = window[:, :, SMALL_CENTRE].reshape(len(window), len(in_lane) // SMALL_TAPS, SMALL_TAPS)
        factors.append(window)
    form = "kcd,pkd->pk" if case.depthwise else "kcd,pcd->pk"
    sums = np.einsum(form, entries, factors[0]) + weights.project_weight @ biases
    counted = counters(weights, masks, channels, owned)
    return sums, counted | {"multiplications": int(np.einsum(form, touched.astype(int), factors[1]).sum())}


def counters(weights: GroupWeights, masks: Masks, channels: slice, owned: Any) -> dict[str, int]:
    """What the lane must have counted: see hw.contract.descriptor.REPORT."""
    length, cycles = np.zeros((2, len(weights.expand_weight)), dtype=np.int64)
    for expanded, column in enumerate(weights.project_weight.T):
        terms = [len(numerics.signed_powers(int(value), 31)) for value in column]
        length[expanded], cycles[expanded] = sum(terms), sum((count + 1) // 2 for count in terms)
    pairs = (weights.expand_weight * weights.pairs)[:, channels]
    product = (pairs[:, :, None] * weights.depthwise_weight[:, None, :]) != 0  # (E, C of the lane, taps)
    touching = masks.second[:, :, None] & masks.first  # (pixels, E, taps)
    owners = owned & (pairs != 0).any(axis=1)
    additions = np.einsum("ped,ecd,e->", touching.astype(int), product.astype(int), length)
    additions += (masks.second * owners * length).sum()
    touched = np.einsum(
        "ped,ecd,ke->pkcd", touching.astype(int), product.astype(int), (weights.project_weight != 0).astype(int)
    )
    working = np.einsum("ped,ecd->pec", touching.astype(int), product.astype(int)) != 0
    first = np.cumsum(pairs != 0, axis=1) == 1  # of the owner's pairs, the first one adds the biases
    working |= masks.second[:, :, None] & (owners[:, None] & first & (pairs != 0))
    steps = (working.sum(axis=2) * cycles).sum()
    return {"multiplications": int((touched != 0).sum()), "additions": int(additions), "steps": int(steps)}
