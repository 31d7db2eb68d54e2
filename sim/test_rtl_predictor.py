"""The predictor's units in simulation."""

import dataclasses

import pytest

from hw.contract.config import ArchonConfig, Widths, preset
from hw.rtl.row_store import READ_LATENCY
from sim.unit_run import run_unit

TINY = preset("tiny")
VARIANTS = {
    "tiny": TINY,
    "one lane": TINY.with_lanes(1),
    "wide": dataclasses.replace(TINY, lanes=8, slice_channels=16),
    "eight rows": dataclasses.replace(TINY, lanes=8, slice_channels=16, row_store_banks=8),
    "sixteen rows": dataclasses.replace(TINY, row_store_banks=16),
    "row store filled": dataclasses.replace(TINY, depths=dataclasses.replace(TINY.depths, row_store=12)),
    "kernel five": dataclasses.replace(TINY, kernel=5),
    "narrow sums": dataclasses.replace(TINY, widths=Widths(predictor_sum=8, level_shift=2)),
}
ENVIRONMENT = {"ARCHON_READ_LATENCY": str(READ_LATENCY)}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_expand_predictor(config: ArchonConfig) -> None:
    run_unit("expand_predictor", config, "tb.expand_predictor_tests")


@pytest.mark.parametrize("name", ["tiny", "eight rows", "sixteen rows", "kernel five"])
def test_row_store(name: str) -> None:
    run_unit("row_store", VARIANTS[name], "tb.row_store_tests", environment=ENVIRONMENT)


DEPTHWISE = ["tiny", "wide", "eight rows", "kernel five"]


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_predictor(name: str) -> None:
    share = DEPTHWISE.index(name), len(DEPTHWISE)
    run_unit("depthwise_predictor", VARIANTS[name], "tb.depthwise_predictor_tests", environment=ENVIRONMENT, share=share)


@pytest.mark.parametrize("name", ["tiny", "wide", "eight rows", "row store filled", "kernel five"])
def test_predictor(name: str) -> None:
    run_unit("predictor", VARIANTS[name], "tb.predictor_tests")
