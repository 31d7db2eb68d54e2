"""The units between the accelerator and its buses, in simulation."""

from pathlib import Path

from amaranth.lib import wiring

from hw.rtl.axi.read_master import ReadMaster
from hw.rtl.axi.register_bank import RegisterBank
from hw.rtl.axi.window_guard import WindowGuard
from hw.rtl.axi.write_master import WriteMaster
from sim.model import Design
from sim.simulation import TestRun, build_and_test
from sim.verilog import write_verilog


def run_component(component: wiring.Component, name: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run tb.NAME_tests on a component."""
    source = write_verilog({name: component}, folder / f"{name}.v")
    build_and_test(Design([source], name), TestRun(f"tb.{name}_tests", environment=environment or {}))


def test_register_bank(tmp_path: Path) -> None:
    run_component(RegisterBank(), "register_bank", tmp_path)


def test_window_guard(tmp_path: Path) -> None:
    run_component(WindowGuard(8), "window_guard", tmp_path)


def test_read_master(tmp_path: Path) -> None:
    run_component(ReadMaster(), "read_master", tmp_path)


def test_write_master(tmp_path: Path) -> None:
    run_component(WriteMaster(), "write_master", tmp_path)
