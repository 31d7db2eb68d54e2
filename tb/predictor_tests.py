"""The whole predictor: activations in, masks of both ReLUs out, for random jobs."""

import dataclasses
from typing import Any

import cocotb
import numpy as np

from hw.contract import numerics
from hw.contract.tables import TableKind
from tb.bands import random_band
from tb.bench import Bench, configuration
from tb.buses import ActivationWriter, TableWriter, pack_table
from tb.depthwise_predictor_tests import band_place, expected_words, random_layer, small_windows
from tb.depthwise_predictor_tests import table_columns as depthwise_columns
from tb.expand_predictor_tests import load_rows, random_activations, random_tables, table_columns
from tb.layouts import slice_word
from tb.streams import PATTERNS, Scoreboard, pattern

JOBS = 8


@cocotb.test()
@cocotb.parametrize(back_pressure=list(PATTERNS))
async def masks_from_activations(dut: Any, back_pressure: str) -> None:
    """Jobs in a row: the second layer works from the rows that the first one writes, whichever of the two is slower.

    Activations are loaded meanwhile. Every third job is a fixed one.
    """
    bench = Bench(dut, "predictor", back_pressure=back_pressure)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    dut.start.value = dut.job.value = dut.rows_loaded.value = 0
    words = bench.sink("words", slice_word(config))
    tables = TableWriter(dut, idle=pattern("rarely", bench.random))
    activations = ActivationWriter(dut, config)
    await bench.reset()
    for number in range(JOBS):
        band = dataclasses.replace(random_band(config, random), fixed=int(number % 3 == 2))
        channels = int(random.integers((band.turns - 1) * config.lanes, band.turns * config.lanes)) + 1
        weights, thresholds, shifts = random_tables(config, band, channels, random)
        x = random_activations((channels, band.input_rows * band.input_width), random)
        excess = weights @ numerics.predictor_input(x) - thresholds[:, None]
        levels = np.zeros((len(weights), band.input_height, band.input_width), dtype=np.int64)
        rows = slice(band.input_row_start, band.input_row_start + band.input_rows)
        levels[:, rows] = numerics.predictor_level(excess, shifts[:, None]).reshape(levels[:, rows].shape)
        _, second_weights, second_thresholds = random_layer(config, band, random)
        columns = table_columns(config, band, weights, thresholds, shifts)
        columns[TableKind.DEPTHWISE] = depthwise_columns(band, second_weights, second_thresholds)
        tables.half = band.half
        for kind, values in columns.items():
            await tables.write(kind, pack_table(kind, config, values))
        dut.job.value = band.job()
        if band.fixed:
            ones = {"second": (1 << config.slice_channels) - 1, "first": [(1 << config.taps) - 1] * config.slice_channels}
            board = bench.follow(
                Scoreboard("words", [ones | {"last": int(n == band.slices)} for n in range(1, band.slices + 1)])
            )
        else:
            expected = expected_words(config, band, levels, second_weights, second_thresholds)
            board = bench.follow(Scoreboard("words", expected, band_place(band)))
        words.on_item = board.check if band.fixed else small_windows(band, config, board.check)
        dut.rows_loaded.value = band.input_row_start
        await bench.pulse("start")
        await load_rows(bench, activations, band, x, pattern(back_pressure, bench.random))
        await bench.until(lambda: board.complete, "all words")  # noqa: B023 - awaited within the turn
        await bench.cycles(20)
