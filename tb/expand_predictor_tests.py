"""First predictor layer: every level word of every input pixel, for random jobs, weights and thresholds."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.contract.tables import TableKind
from tb.bands import Band, random_band
from tb.bench import Bench, configuration
from tb.buses import ActivationWriter, TableWriter, pack_table
from tb.level_buses import LevelWriteMonitor, level_word
from tb.streams import PATTERNS, Pattern, Scoreboard, pattern

JOBS = 8
ABANDONED = (2, 5)
"""Jobs of which only the beginning runs before the next one starts."""


class RowsConsumer:
    """Stands in for the depthwise predictor: frees columns and rows at once or late, and watches the unit."""

    def __init__(self, dut: Any, config: ArchonConfig, hold: Pattern) -> None:
        self._dut, self._rows, self._hold = dut, config.row_banks, hold
        self.active, self._pause = False, 0
        self._show(0, 0, 0)
        cocotb.start_soon(self._run())

    def _show(self, row: int, next_row: int, column: int) -> None:
        self._row, self._next_row, self._column = row, next_row, column
        for name, value in (("row", row), ("next_row", next_row), ("column", column)):
            self._dut[f"reading__{name}"].value = value

    def begin(self, band: Band, places: list[tuple[int, int, int]]) -> None:
        """Prepare for a job that is about to start and writes (row, column, slice) in this order."""
        self.active, self._pause = False, 0
        self._band, self._places, self._written = band, places, 0
        self._column_cycles = band.slices * band.turns
        self._show(band.input_row_start, band.input_row_start, 0)

    def count(self) -> None:
        """Note one write; AssertionError where it overwrites a word still needed, or its row was not loaded."""
        row, column, _ = self._places[self._written]
        free = row < self._row + self._rows or (row < self._next_row + self._rows and column < self._column)
        assert free, f"row {row}, column {column} written, but rows from {self._row} on were still needed"
        assert row < int(self._dut.rows_loaded.value), f"row {row} written before it was loaded"
        self._written += 1

    def _check_done(self) -> tuple[int, int]:
        row, column = int(self._dut.done__row.value), int(self._dut.done__column.value)
        written = set(self._places[: self._written])
        # Of the leading rows columns are done in all.
        first, leading = self._band.input_row_start, self._band.leading_rows
        for done_row in range(first, row + bool(column)):
            columns = column if done_row == row or row == first + leading - 1 else self._band.input_width
            if columns:
                claimed = {(done_row, index, self._band.slices - 1) for index in range(columns)}
                assert claimed <= written, f"done is row {row}, column {column}, but {min(claimed - written)} is not written"
        return row, column

    async def _run(self) -> None:
        edge = RisingEdge(self._dut.clk)
        while True:
            await edge
            if not self.active or self._dut.start.value:
                continue
            done = self._check_done()
            self._pause = max(0, self._pause - 1)
            if self._pause:
                continue
            if self._column == self._band.input_width:
                stride = self._band.stride
                self._show(self._next_row, self._next_row + stride, 0)
            elif self._next_row == self._row:
                self._show(self._row, self._row + self._band.stride, 0)
            elif (self._next_row - 1, self._column) < done:
                self._show(self._row, self._next_row, self._column + 1)
            if next(self._hold):
                self._pause = self._column_cycles * 8


def random_tables(config: ArchonConfig, band: Band, channels: int, random: np.random.Generator) -> tuple[NDArray, ...]:
    """T1 (E, channels), thresholds and level shifts (E), with thresholds near the sums as well as extreme ones."""
    expanded = band.slices * config.slice_channels
    density = random.choice([0.0, 0.3, 1.0])
    weights = random.choice([-1, 0, 1], (expanded, channels), p=[density / 2, 1 - density, density / 2])
    weights[0], weights[-1] = 1, -1
    low, high = numerics.signed_range(config.widths.predictor_sum)
    thresholds = random.integers(-20, 20, expanded).clip(low, high)
    thresholds[random.random(expanded) < 0.2] = high
    thresholds[random.random(expanded) < 0.1] = low
    return weights, thresholds, random.integers(0, 1 << config.widths.level_shift, expanded)


def random_activations(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.int64]:
    """int8 over the whole range, or only its ends."""
    if random.random() < 0.25:
        return random.choice([-128, 127], shape)
    return random.integers(-128, 128, shape)


async def load_rows(bench: Bench, writer: ActivationWriter, band: Band, x: NDArray, pause: Pattern) -> None:
    """Load the band's activations row by row, each at once after the one before or late."""
    for row in range(band.input_rows):
        while next(pause):
            await bench.cycles(band.input_width * band.slices)
        first = row * band.input_width
        await writer.write(x, first, first + band.input_width)
        bench.dut.rows_loaded.value = band.input_row_start + row + 1


@cocotb.test()
@cocotb.parametrize(hold=list(PATTERNS))
async def levels_of_all_pixels(dut: Any, hold: str) -> None:
    """Jobs in a row, some of them abandoned; no word is overwritten too early, none is called done too early."""
    bench = Bench(dut, "expand", hold)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = dut.job.value = dut.rows_loaded.value = 0
    monitor, consumer = LevelWriteMonitor(dut), RowsConsumer(dut, config, pattern(hold, bench.random))
    tables = TableWriter(dut, idle=pattern("rarely", bench.random))
    activations = ActivationWriter(dut, config)
    await bench.reset()
    for number in range(JOBS):
        band = random_band(config, random)
        most = min(band.turns * config.lanes, (1 << (config.widths.predictor_sum - 1)) // 8 - 1)
        channels = int(random.integers((band.turns - 1) * config.lanes, most)) + 1
        weights, thresholds, shifts = random_tables(config, band, channels, random)
        x = random_activations((channels, band.input_rows * band.input_width), random)
        tables.half = band.half
        for kind, columns in table_columns(config, band, weights, thresholds, shifts).items():
            await tables.write(kind, pack_table(kind, config, columns))
        dut.job.value = band.job()
        consumer.begin(band, places := write_order(band))
        board = bench.follow(Scoreboard("levels", expected_writes(config, band, places, x, weights, thresholds, shifts)))

        def check(write: dict[str, int], board: Scoreboard = board) -> None:
            consumer.count()
            board.check(write)

        dut.rows_loaded.value = band.input_row_start
        await bench.pulse("start")
        monitor.on_write, consumer.active = check, True
        loading = cocotb.start_soon(load_rows(bench, activations, band, x, pattern(hold, bench.random)))
        if number in ABANDONED:
            await bench.cycles(int(random.integers(1, 60)))
            monitor.on_write, consumer.active = None, False
            await loading
            continue
        await bench.until(lambda: board.complete, "all level words")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)
        assert (int(dut.done__row.value), int(dut.done__column.value)) == (band.input_row_start + band.input_rows, 0)


def write_order(band: Band) -> list[tuple[int, int, int]]:
    """Row (of the image), column and slice of every write: the leading rows column by column, then row by row."""
    leading = band.leading_rows
    pixels = [(row, column) for column in range(band.input_width) for row in range(leading)]
    pixels += [(row, column) for row in range(leading, band.input_rows) for column in range(band.input_width)]
    return [(band.input_row_start + row, column, index) for row, column in pixels for index in range(band.slices)]


def table_columns(
    config: ArchonConfig, band: Band, weights: NDArray, thresholds: NDArray, shifts: NDArray
) -> dict[TableKind, dict[str, NDArray]]:
    """Columns of the two tables: channels of the last turn that the group does not have get zero weights."""
    padded = np.zeros((weights.shape[0], band.turns * config.lanes), dtype=np.int64)
    padded[:, : weights.shape[1]] = weights
    rows = padded.reshape(band.slices, config.slice_channels, band.turns, config.lanes).transpose(0, 2, 1, 3)
    per_slice = (band.slices, config.slice_channels)
    return {
        TableKind.EXPAND: {"weights": rows.reshape(band.slices * band.turns, -1)},
        TableKind.EXPAND_THRESHOLD: {"thresholds": thresholds.reshape(per_slice), "shifts": shifts.reshape(per_slice)},
    }


def expected_writes(
    config: ArchonConfig,
    band: Band,
    places: list[tuple[int, int, int]],
    x: NDArray,
    weights: NDArray,
    thresholds: NDArray,
    shifts: NDArray,
) -> list[dict[str, int]]:
    """Level words by the contract's arithmetic, at these places."""
    sums = weights @ numerics.predictor_input(x)
    levels = numerics.predictor_level(sums - thresholds[:, None], shifts[:, None])
    levels = levels.T.reshape(band.input_rows, band.input_width, band.slices, config.slice_channels)
    layout = level_word(config)
    return [
        {
            "row": row % config.row_banks,
            "address": column * band.slices + index,
            "levels": layout.pack({"levels": levels[row - band.input_row_start, column, index]}),
        }
        for row, column, index in places
    ]
