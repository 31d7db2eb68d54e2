"""The units between external memory and the lanes, and the controller, in simulation."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from hw.contract.config import preset
from hw.contract.layout import Field, Layout
from hw.rtl.packed_reader import PackedReader
from sim.model import Design
from sim.simulation import TestRun, build_and_test
from sim.unit_run import run_unit
from sim.verilog import write_verilog
from tb.streams import SHARE_VARIABLE

TINY = preset("tiny")


@pytest.mark.parametrize("output_queue", [2, 5])
def test_requantizer(output_queue: int) -> None:
    config = dataclasses.replace(TINY, queues=dataclasses.replace(TINY.queues, output=output_queue))
    run_unit("requantizer", config, "tb.requantizer_tests", share=([2, 5].index(output_queue), 2))


@pytest.mark.parametrize("queue", [2, 16])
def test_residual_reader(queue: int) -> None:
    config = dataclasses.replace(TINY, queues=dataclasses.replace(TINY.queues, residual=queue))
    run_unit("residual_reader", config, "tb.residual_reader_tests", share=([2, 16].index(queue), 2))


LOADERS = [(1, 1, 2, 3), (8, 2, 16, 3), (1, 1, 2, 5), (8, 2, 4, 5)]


@pytest.mark.parametrize(("lanes", "adder_rows", "slice_channels", "kernel"), LOADERS)
def test_table_loader(lanes: int, adder_rows: int, slice_channels: int, kernel: int) -> None:
    share = LOADERS.index((lanes, adder_rows, slice_channels, kernel)), len(LOADERS)
    config = dataclasses.replace(TINY, lanes=lanes, adder_rows=adder_rows, slice_channels=slice_channels, kernel=kernel)
    run_unit("table_loader", config, "tb.table_loader_tests", share=share)


ROWS = [1, 10, 21, 64]


@pytest.mark.parametrize("bits", ROWS)
def test_packed_reader(bits: int, tmp_path: Path) -> None:
    reader = PackedReader(Layout("row", (Field("bits", bits),)))
    source = write_verilog({"packed_reader": reader}, tmp_path / "packed_reader.v")
    environment = {"ARCHON_ROW_BITS": str(bits), SHARE_VARIABLE: f"{ROWS.index(bits)}/{len(ROWS)}"}
    build_and_test(Design([source], "packed_reader"), TestRun("tb.packed_reader_tests", environment=environment))


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_activation_loader(lanes: int) -> None:
    config, share = dataclasses.replace(TINY, lanes=lanes), ([1, 2, 4, 8].index(lanes), 4)
    run_unit("activation_loader", config, "tb.activation_loader_tests", share=share)


@pytest.mark.parametrize(("name", "kernel"), [("tiny", 3), ("tiny", 5), ("small", 3)])
def test_descriptor_check(name: str, kernel: int) -> None:
    run_unit("descriptor_check", dataclasses.replace(preset(name), kernel=kernel), "tb.descriptor_check_tests")


@pytest.mark.parametrize("clusters", [1, 3])
def test_controller(clusters: int) -> None:
    run_unit("controller", dataclasses.replace(TINY, clusters=clusters), "tb.controller_tests")


def test_controller_on_icarus() -> None:
    # Its Verilog is one that Icarus simulates as meant only as sim.icarus prepares it.
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    run_unit("controller", TINY, "tb.controller_tests", simulator="icarus")
