"""Second predictor layer: masks of every output pixel, for random jobs, levels, weights and thresholds."""

import os
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import ArchonConfig
from hw.contract.tables import TableKind
from hw.contract.taps import tap_places
from tb.bands import Band, random_band
from tb.bench import Bench, configuration
from tb.buses import TableWriter, pack_table
from tb.layouts import slice_word
from tb.level_buses import LevelBanks, RowStoreAgent, level_word
from tb.streams import Pattern, Scoreboard, pattern, stalls

JOBS = 8
ABANDONED = (2, 5)
"""Jobs whose rows stop coming before the next one starts."""


class RowsProducer:
    """Stands in for the expand predictor: fills the row store at random times, never over words still needed."""

    def __init__(self, dut: Any, config: ArchonConfig, banks: LevelBanks, idle: Pattern) -> None:
        self._dut, self._rows, self._banks, self._idle = dut, config.row_banks, banks, idle
        self.pixels: list[tuple[int, int, dict[tuple[int, int], int]]] = []
        self._width = 1
        self._show(0, 0)
        cocotb.start_soon(self._run())

    def _show(self, row: int, column: int) -> None:
        self._dut.done__row.value, self._dut.done__column.value = row, column

    def begin(self, band: Band, pixels: list[tuple[int, int, dict[tuple[int, int], int]]]) -> None:
        """Offer the pixels of a job that starts now: (row, column, words), rows in order."""
        self.pixels, self._width = pixels, band.input_width
        self._show(band.input_row_start, 0)

    async def _run(self) -> None:
        edge, dut = RisingEdge(self._dut.clk), self._dut
        while True:
            await edge
            if not self.pixels or dut.start.value or next(self._idle):
                continue
            row, column, words = self.pixels[0]
            free = row < int(dut.reading__row.value) + self._rows
            freed = row < int(dut.reading__next_row.value) + self._rows and column < int(dut.reading__column.value)
            if free or freed:
                self._banks.words |= words
                del self.pixels[0]
                self._show(*((row, column + 1) if column + 1 < self._width else (row + 1, 0)))


def stored_pixels(config: ArchonConfig, band: Band, levels: NDArray) -> list[tuple[int, int, dict[tuple[int, int], int]]]:
    """Row, column and row store's words of every input pixel of the band; levels is (E, input_height, input_width)."""
    layout = level_word(config)
    words = levels.transpose(1, 2, 0).reshape(band.input_height, band.input_width, band.slices, config.slice_channels)
    return [
        (
            row,
            column,
            {
                (row % config.row_banks, column * band.slices + index): layout.pack({"levels": words[row, column, index]})
                for index in range(band.slices)
            },
        )
        for row in range(band.input_row_start, band.input_row_start + band.input_rows)
        for column in range(band.input_width)
    ]


def expected_words(
    config: ArchonConfig, band: Band, levels: NDArray, weights: NDArray, thresholds: NDArray
) -> list[dict[str, int | list[int]]]:
    """Slice words from the definition: m1 = r1 != 0, m2 = sum_d TD * r1 > threshold, r1 = 0 outside the image.

    Taps that the band's kernel does not have count for nothing in m2; they are left out of m1.
    """
    reach, places = band.kernel // 2, tap_places(band.kernel)
    padded = np.pad(levels, ((0, 0), (reach, reach), (reach, reach)))
    channels, words = config.slice_channels, []
    for row, column in np.ndindex(band.output_rows, band.output_width):
        top, left = band.stride * (band.output_row_start + row) + reach, band.stride * column + reach
        taps = np.stack([padded[:, top + below, left + right] for below, right in places], axis=1)
        first = ((taps != 0) << np.arange(len(places))).sum(axis=1).reshape(band.slices, channels)
        survives = (weights[:, : len(places)] * taps).sum(axis=1) > thresholds
        second = survives.reshape(band.slices, channels) << np.arange(channels)
        words += [
            {"second": int(second[index].sum()), "first": first[index].tolist(), "last": int(index == band.slices - 1)}
            for index in range(band.slices)
        ]
    return words


def random_layer(config: ArchonConfig, band: Band, random: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Levels (E, rows, columns), TD (E, taps of the hardware) and thresholds (E), extremes among them."""
    expanded = band.slices * config.slice_channels
    shape = (expanded, band.input_height, band.input_width)
    share = random.choice([0.0, 0.3, 0.7, 1.0])
    levels = np.where(random.random(shape) < share, random.integers(1, numerics.LEVEL_MAX + 1, shape), 0)
    levels[random.random(expanded) < 0.1] = numerics.LEVEL_MAX
    weights = random.integers(-1, 2, (expanded, config.taps))
    weights[random.random(expanded) < 0.1], weights[random.random(expanded) < 0.1] = 1, -1
    low, high = numerics.signed_range(config.widths.predictor_sum)
    thresholds = random.integers(-12, 12, expanded).clip(low, high)
    thresholds[random.random(expanded) < 0.1] = high
    thresholds[random.random(expanded) < 0.1] = low
    return levels, weights, thresholds


def table_columns(band: Band, weights: NDArray, thresholds: NDArray) -> dict[str, NDArray]:
    """Of the DEPTHWISE table; weights tap by tap."""
    by_tap = weights.reshape(band.slices, -1, weights.shape[1]).transpose(0, 2, 1)
    return {"weights": by_tap.reshape(band.slices, -1), "thresholds": thresholds.reshape(band.slices, -1)}


def small_windows(band: Band, config: ArchonConfig, check: Callable[[Any], None]) -> Callable[[Any], None]:
    """Checks words without m1 of the taps that the band's kernel does not have, which means nothing."""
    mask = (1 << len(tap_places(band.kernel))) - 1

    def check_masked(word: dict[str, Any]) -> None:
        check({**word, "first": [taps & mask for taps in word["first"]]})

    return check if band.kernel == config.kernel else check_masked


@cocotb.test()
@cocotb.parametrize(stalls())
async def masks_of_all_pixels(dut: Any, idle: str, back_pressure: str) -> None:
    """Jobs in a row, some of them abandoned, with pixels coming and words taken at random times."""
    bench = Bench(dut, "depthwise", idle, back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = 0
    dut.job.value = 0
    layout = level_word(config)
    banks = LevelBanks(config)
    rubbish_bits = config.kernel * layout.width
    RowStoreAgent(dut, banks, int(os.environ["ARCHON_READ_LATENCY"]), lambda: bench.random.getrandbits(rubbish_bits))
    producer = RowsProducer(dut, config, banks, pattern(idle, bench.random))
    words = bench.sink("words", slice_word(config))
    tables = TableWriter(dut, idle=pattern("rarely", bench.random))
    await bench.reset()
    for number in range(JOBS):
        band = random_band(config, random)
        levels, weights, thresholds = random_layer(config, band, random)
        tables.half = band.half
        columns = table_columns(band, weights, thresholds)
        await tables.write(TableKind.DEPTHWISE, pack_table(TableKind.DEPTHWISE, config, columns))
        banks.words.clear()
        dut.job.value = band.job()
        board = bench.follow(Scoreboard("words", expected_words(config, band, levels, weights, thresholds), band_place(band)))
        words.on_item = small_windows(band, config, board.check)
        await bench.pulse("start")
        pixels = stored_pixels(config, band, levels)
        abandoned = number in ABANDONED
        producer.begin(band, pixels[: len(pixels) // 2] if abandoned else pixels)
        if abandoned:
            await bench.until(lambda: not producer.pixels, "the rows of an abandoned job")
            await bench.cycles(1000)  # its last words are taken, so that none is withdrawn
            continue
        await bench.until(lambda: board.complete, "all words")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)


def band_place(band: Band) -> Any:
    """Names the place of a word for messages."""
    return lambda count: (
        f"row {band.output_row_start + count // band.slices // band.output_width}, "
        f"column {count // band.slices % band.output_width}, slice {count % band.slices}, {band}"
    )
