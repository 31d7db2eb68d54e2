"""First predictor layer: every level word of every input pixel, for random jobs, weights and thresholds."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ROW_BANKS, ArchonConfig
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
    """Stands in for the depthwise predictor: frees rows at once or late, and watches the unit."""

    def __init__(self, dut: Any, hold: Pattern) -> None:
        self._dut, self._hold = dut, hold
        self.needed, self.row_words, self.written, self.first_row = 0, 1, 0, 0
        self.active, self.row_cycles, self._pause = False, 1, 0
        dut.rows_needed_from.value = 0
        cocotb.start_soon(self._run())

    def begin(self, band: Band) -> None:
        """Prepare for a job that is about to start."""
        self.active = False
        self.needed = self.first_row = band.input_row_start
        self.row_words, self.written = band.input_width * band.slices, 0
        self.row_cycles, self._pause = self.row_words * band.turns, 0
        self._dut.rows_needed_from.value = self.needed

    def count(self) -> None:
        """Note one write; AssertionError where it overwrites a row still needed."""
        row = self.first_row + self.written // self.row_words
        assert row < self.needed + ROW_BANKS, f"row {row} written while row {self.needed} was still needed"
        self.written += 1

    async def _run(self) -> None:
        edge = RisingEdge(self._dut.clk)
        while True:
            await edge
            if not self.active or self._dut.start.value:
                continue
            done = int(self._dut.rows_done.value)
            complete = self.first_row + self.written // self.row_words
            assert self.first_row <= done <= complete, f"rows_done is {done}, but only rows below {complete} are written"
            self._pause = max(0, self._pause - 1)
            if self.needed < done and not self._pause:
                self.needed += 1
                self._dut.rows_needed_from.value = self.needed
                self._pause = self.row_cycles * 8 if next(self._hold) else 0


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


@cocotb.test()
@cocotb.parametrize(hold=list(PATTERNS))
async def levels_of_all_pixels(dut: Any, hold: str) -> None:
    """Jobs in a row, some of them abandoned; no row is overwritten too early, none is called done too early."""
    bench = Bench(dut, "expand", hold)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    monitor, consumer = LevelWriteMonitor(dut), RowsConsumer(dut, pattern(hold, bench.random))
    tables = TableWriter(dut, idle=pattern("rarely", bench.random))
    activations = ActivationWriter(dut, config)
    await bench.reset()
    for number in range(JOBS):
        band = random_band(config, random)
        most = min(band.turns * config.lanes, (1 << (config.widths.predictor_sum - 1)) // 8 - 1)
        channels = int(random.integers((band.turns - 1) * config.lanes, most)) + 1
        weights, thresholds, shifts = random_tables(config, band, channels, random)
        x = random_activations((channels, band.input_rows * band.input_width), random)
        await activations.write(x)
        tables.half = band.half
        for kind, columns in table_columns(config, band, weights, thresholds, shifts).items():
            await tables.write(kind, pack_table(kind, config, columns))
        dut.job.value = band.job()
        consumer.begin(band)
        board = bench.follow(Scoreboard("levels", expected_writes(config, band, x, weights, thresholds, shifts)))

        def check(write: dict[str, int], board: Scoreboard = board) -> None:
            consumer.count()
            board.check(write)

        await bench.pulse("start")
        monitor.on_write, consumer.active = check, True
        if number in ABANDONED:
            await bench.cycles(int(random.integers(1, 60)))
            monitor.on_write, consumer.active = None, False
            continue
        await bench.until(lambda: board.complete, "all level words")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)
        assert int(dut.rows_done.value) == band.input_row_start + band.input_rows


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
    config: ArchonConfig, band: Band, x: NDArray, weights: NDArray, thresholds: NDArray, shifts: NDArray
) -> list[dict[str, int]]:
    """Level words by the contract's arithmetic, pixel by pixel and slice by slice."""
    sums = weights @ numerics.predictor_input(x)
    levels = numerics.predictor_level(sums - thresholds[:, None], shifts[:, None])
    levels = levels.T.reshape(band.input_rows, band.input_width, band.slices, config.slice_channels)
    layout = level_word(config)
    return [
        {
            "row": (band.input_row_start + row) % ROW_BANKS,
            "address": column * band.slices + index,
            "levels": layout.pack({"levels": levels[row, column, index]}),
        }
        for row, column, index in np.ndindex(*levels.shape[:3])
    ]
