"""Table loader: every row of a segment once, in order; nothing read outside the segment."""

from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics, tables
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from hw.contract.layout import WORD_BITS, Layout
from hw.contract.rules import choose, outputs_of_pixel
from hw.contract.tables import PER_LANE, SECTION_HEADER, SHARED, TableKind, table_depth, table_layout
from hw.contract.taps import KERNELS
from tb.bench import configuration
from tb.edges import bit, every_cycle, numbers
from tb.loaders import LoaderBench
from tb.streams import Scoreboard, stalls
from tb.tables import TableRows, places, segment_rows

JOBS = 4
WORDS = 1 << 13
ROWS_MAX = 40


class TableWriteMonitor:
    """Compares the rows on a table-write bus with those that have to come: each table's in order."""

    def __init__(self, dut: Any, bus: str, config: ArchonConfig) -> None:
        self._config = config
        self._valid, self._read = bit(dut[f"{bus}__valid"]), numbers(dut, f"{bus}__", ("half", "kind", "row", "data"))
        self.boards: dict[int, Scoreboard] = {}
        self.kernel = config.kernel
        """Of the job."""
        every_cycle(dut, self._step)

    def _step(self, reset: bool) -> None:
        if not reset and self._valid():
            half, kind, row, data = self._read().values()
            width = table_layout(TableKind(kind), self._config, self.kernel).width
            self.boards[kind].check((half, row, data & ((1 << width) - 1)))


@cocotb.test()
@cocotb.parametrize(stalls(), latency=[(0, 0), (1, 30)])
async def every_row_once(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Segments in a row, each of random sections in any order, ending anywhere in memory."""
    bench = LoaderBench(dut, "tables", WORDS, idle, back_pressure, latency)
    config, memory = configuration(), bench.memory
    random = np.random.default_rng(bench.random.getrandbits(64))
    buses = {"table_write": (SHARED, 0)} | {f"lane_writes__{lane}": (PER_LANE, lane) for lane in range(config.lanes)}
    monitors = {bus: TableWriteMonitor(dut, bus, config) for bus in buses}
    never_stalls(dut)
    await bench.reset()
    for _ in range(JOBS):
        job = random_settings(config, random)
        words = random_segment(config, random, job)
        address = int(random.integers(0, WORDS - len(words) + 1))
        memory.words[address : address + len(words)] = words
        memory.missing[:] = True
        memory.missing[address : address + len(words)] = False
        rows = segment_rows(memory.words, address, len(words), config, job)
        half = int(random.integers(2))
        for bus, (kinds, lane) in buses.items():
            monitors[bus].kernel = KERNELS[job["kernel_five"]]
            monitors[bus].boards = {kind: bench.follow(board_of(kind, lane, half, rows, config)) for kind in kinds}
        await bench.load(job | {"table_address": address, "table_words": len(words), "half": half})
        for monitor in monitors.values():
            for board in monitor.boards.values():
                board.finish()
        await bench.check_stays_done(len(words))


@cocotb.test()
@cocotb.parametrize(idle=["never", "bursts"], wrong=["short", "long", "twice", "missing", "rows", "words", "kind", "rest"])
async def segments_that_do_not_fit_are_told(dut: Any, idle: str, wrong: str) -> None:
    """`bad` and never `done`; a reset makes the loader sound again."""
    bench = LoaderBench(dut, f"wrong {wrong}", WORDS, idle, "never", (0, 10))
    config, memory = configuration(), bench.memory
    random = np.random.default_rng(bench.random.getrandbits(64))
    for _ in range(JOBS):
        job = random_settings(config, random)
        parts = segment_parts(config, random, job)
        good = np.concatenate(parts)
        for segment, outcome, other in ((spoilt(job, parts, wrong, random), "bad", "done"), (good, "done", "bad")):
            await bench.reset()
            memory.words[: len(segment)] = segment
            dut.job.value = JOB.pack(JOB.unpack(0) | job | {"table_words": len(segment)})
            await bench.pulse("start")
            told = dut[outcome]
            await bench.until(lambda told=told: bool(told.value), outcome)  # type: ignore[misc]
            for _ in range(10):
                await bench.cycles(1)
                assert told.value
                assert not dut[other].value


def spoilt(job: dict[str, int], parts: list[NDArray[np.uint64]], wrong: str, random: np.random.Generator) -> NDArray[np.uint64]:
    """A segment like that of these sections, which is the job's, with something wrong."""
    place, words, config = int(random.integers(len(parts))), np.concatenate(parts), configuration()
    if wrong == "short":
        return words[: int(random.integers(1, len(words)))]
    if wrong == "long":
        return np.concatenate([words, random.integers(0, 1 << 64, int(random.integers(1, 9)), dtype=np.uint64)])
    if wrong == "twice":
        return np.concatenate([*parts, parts[place]])
    if wrong == "missing":
        return np.concatenate([part for index, part in enumerate(parts) if index != place])
    if wrong == "rows":  # in itself without fault
        name = random.choice(["slices", "input_channels" if job["depthwise"] else "output_channels"])
        return random_segment(config, random, job | {name: job[name] + 1})
    if wrong == "words":  # likewise
        place = next(index for index, part in enumerate(parts) if part_header(part)["kind"] != TableKind.LANES)
    parts, fields = [part.copy() for part in parts], part_header(parts[place])
    if wrong == "kind":
        kind = int(random.choice([*PER_LANE, *range(len(TableKind), 16)]))
        parts[place][0] = header(kind, fields["rows"], fields["words"])[0]
    elif wrong == "rest":
        parts[place][0] |= np.uint64(1 << int(random.integers(SECTION_HEADER.width, WORD_BITS)))
    else:
        rows = np.pad(parts[place][1:].reshape(fields["rows"], fields["words"]), ((0, 0), (0, 1)))
        parts[place] = np.concatenate([header(fields["kind"], *rows.shape), rows.reshape(-1)])
    return np.concatenate(parts)


def part_header(part: NDArray[np.uint64]) -> dict[str, int]:
    """Of a section."""
    fields: dict[str, Any] = SECTION_HEADER.unpack(int(part[0]))
    return fields


def never_stalls(dut: Any) -> None:
    """The memory's words are taken as they come: other clients wait behind them."""
    valid, ready = bit(dut.read_data__valid), bit(dut.read_data__ready)

    def step(reset: bool) -> None:
        assert reset or ready() or not valid(), "read_data is stalled"

    every_cycle(dut, step)


def board_of(kind: TableKind, lane: int, half: int, rows: TableRows, config: ArchonConfig) -> Scoreboard:
    """Expects one table's rows."""
    expected = rows.get((kind, lane), [])
    placed = zip(places(kind, expected, config), expected, strict=True)
    return Scoreboard(f"{kind.name}, lane {lane}", [(half, place, data) for place, data in placed])


def random_settings(config: ArchonConfig, random: np.random.Generator) -> dict[str, int]:
    """What the loader looks at in a job."""
    most = min(config.depths.accumulator // 4, config.depths.output // config.lanes)
    outputs, fixed = int(random.integers(1, most + 1)), int(random.integers(2))
    return {
        "turns": int(random.integers(1, 5)),
        "slices": int(random.integers(1, 4)),
        "input_channels": outputs * config.lanes - int(random.integers(config.lanes)),
        "output_channels": outputs,
        "fixed": fixed,
        "depthwise": fixed * int(random.integers(2)),
        "kernel_five": int(random.integers(2)) if config.kernel == 5 else 0,
    }


def random_segment(config: ArchonConfig, random: np.random.Generator, job: dict[str, int]) -> NDArray[np.uint64]:
    """A segment of any content that the format allows for a job, sections in any order."""
    return np.concatenate(segment_parts(config, random, job))


def segment_parts(config: ArchonConfig, random: np.random.Generator, job: dict[str, int]) -> list[NDArray[np.uint64]]:
    """The sections of a random segment."""
    parts: list[NDArray[np.uint64]] = []
    kinds = [TableKind.REQUANTIZE, TableKind.LANES] if job["fixed"] else [*SHARED, TableKind.LANES]
    for number in random.permutation(kinds):
        kind = TableKind(number)
        rows = outputs_of_pixel(job, choose) if kind is TableKind.REQUANTIZE else job["slices"]
        if kind is TableKind.LANES:
            packed = PackedRows(config, random)
            slices = [random_slice(config, random, job, packed) for _ in range(rows)]
            parts.append(np.concatenate([header(kind, rows, 0), *slices]))
            continue
        if kind is TableKind.EXPAND:
            rows = min(int(random.integers(1, ROWS_MAX)), table_depth(kind, config))
        words = table_layout(kind, config, KERNELS[job["kernel_five"]]).words
        contents = random.integers(0, 1 << 64, rows * words, dtype=np.uint64)
        parts.append(np.concatenate([header(kind, rows, words), contents]))
    return parts


class PackedRows:
    """Random words of rows that lie several in a word, where the rows become due."""

    def __init__(self, config: ArchonConfig, random: np.random.Generator) -> None:
        self._random = random
        self._layouts = {"step": tables.step_row(config), "weight": tables.weight_record(config)}
        self._left = dict.fromkeys(self._layouts, 0)

    def due(self, name: str, rows: int) -> NDArray[np.uint64]:
        """The words that come with so many rows of a layout."""
        layout = self._layouts[name]
        words = -(-max(0, rows - self._left[name]) // layout.per_word)
        self._left[name] += words * layout.per_word - rows
        return layout.side_by_side(random_rows(layout, self._random, words * layout.per_word))


def random_slice(
    config: ArchonConfig, random: np.random.Generator, job: dict[str, int], packed: PackedRows
) -> NDArray[np.uint64]:
    """One slice: dense or sparse pairs, few or many steps, some channels with biases."""
    channels, lanes, turns = config.slice_channels, config.lanes, job["turns"]
    members = random.random((turns, lanes, channels)) < random.choice([0.05, 0.3, 0.8])
    occurs = members.any(axis=0)
    parts = []
    for channel in range(channels):
        in_lanes = np.flatnonzero(occurs[:, channel])
        steps = int(random.integers(1, random.choice([3, 10]))) if len(in_lanes) else 0
        has_bias = len(in_lanes) > 0 and random.random() < 0.7
        fixed = {"lanes": int((1 << in_lanes).sum()), "step_count": steps, "has_bias": int(has_bias)}
        parts.append(random_rows(tables.channel_record(config, KERNELS[job["kernel_five"]]), random, 1, fixed).reshape(-1))
        if has_bias:
            fixed = {"owner": int(random.choice(in_lanes))}
            low = config.widths.bias_product - config.widths.weight
            fixed |= {"expand_bias": int(random.integers(-(1 << low), 1 << low))}
            parts.append(random_rows(tables.bias_record(config), random, 1, fixed).reshape(-1))
        parts.append(packed.due("step", steps))
    for turn in range(turns):
        bits = (members[turn] << np.arange(channels)).sum(axis=1)
        parts.append(tables.members_record(config).pack_rows({"members": [bits]})[0])
        parts.append(packed.due("weight", int(members[turn].sum())))
    return np.concatenate(parts)


def random_rows(layout: Layout, random: np.random.Generator, rows: int, fixed: dict[str, int] | None = None) -> Any:
    """Packed rows; D and W1 are symmetric, as the products' width asks for."""
    columns: dict[str, Any] = {}
    for item in layout.fields:
        low, high = numerics.signed_range(item.bits) if item.signed else (0, (1 << item.bits) - 1)
        low += item.name in {"weight", "weights"}
        shape = rows if item.count is None else (rows, item.count)
        columns[item.name] = random.integers(low, high, shape, endpoint=True)
    columns |= {name: [value] * rows for name, value in (fixed or {}).items()}
    return layout.pack_rows(columns)


def header(kind: int, rows: int, words: int) -> NDArray[np.uint64]:
    """A packed section header."""
    return SECTION_HEADER.pack_rows({"kind": [kind], "words": [words], "rows": [rows]})[0]
