"""Coverage of a counter: what its tests reach, and what they do not."""

from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim import model as model_module
from sim.coverage import netlist, probes
from sim.coverage.exclusions import Exclusion, Exclusions
from sim.coverage.points import sidecar
from sim.coverage.records import Record
from sim.coverage.regression import coverage_of
from sim.coverage.summary import Coverage, summarise
from sim.model import Design
from sim.simulation import TestRun, build_and_test
from sim.verilog import write_verilog
from tb.coverage import FOLDER_VARIABLE

COUNTING = TestRun("sim.counter_tests", environment={"EXPECTED_STEP": "2"}, names=["counts"])
HOLDING = TestRun("sim.counter_tests", names=["holds"])


class Counter(wiring.Component):
    """Counts by two, which leaves bit 0 alone; the bell rings at a number that no test reaches."""

    enable: Signal
    count: Signal

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "count": Out(8)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        bell = Signal()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + 2)
        with m.If(self.count == 254):
            m.d.sync += bell.eq(1)
        return m


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Coverage of this file is collected in a folder."""
    for module in (probes, netlist):
        monkeypatch.setattr(module, "RTL", "sim/coverage/")
    monkeypatch.setattr(model_module, "SIMULATIONS", tmp_path / "simulations")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "records"))
    return tmp_path / "records"


def measured(records: Path, folder: Path, *runs: TestRun) -> Coverage:
    design = Design([write_verilog({"counter": Counter()}, folder / "counter.v")], "counter")
    for run in runs:
        build_and_test(design, run)
    return coverage_of(records)


def only_record(records: Path) -> Record:
    (path,) = records.glob("*.json")
    return Record.read(path)


def holes(coverage: Coverage) -> set[str]:
    return {hole.what for hole in coverage.holes if hole.kind != "functional"}


def test_what_is_not_reached_is_a_hole(records: Path, tmp_path: Path) -> None:
    coverage = measured(records, tmp_path, COUNTING)
    bell = "with m.If(self.count == 254):"
    assert {bell, "bell 0->1 and 1->0"} <= holes(coverage)
    assert "with m.If(self.enable):" not in holes(coverage)
    count = next(what for place, what in only_record(records).reached.items() if place.name == "count")
    assert (count.bits, count.rose & 3, count.fell & 3) == (0xFF, 2, 2)
    lines = coverage.lines["test_collection"]
    assert (lines.total, lines.reached, lines.excluded) == (2, 1, 0)
    place = next(hole.place for hole in coverage.holes if hole.what == bell)
    file, _, number = place.partition(":")
    assert bell in (Path(__file__).parents[2] / file).read_text(encoding="utf-8").splitlines()[int(number) - 1]


def test_runs_are_merged(records: Path, tmp_path: Path) -> None:
    held = measured(records, tmp_path, HOLDING)
    assert "with m.If(self.enable):" in holes(held)
    assert held.toggles["test_collection"].reached == 0
    both = measured(records, tmp_path, COUNTING)
    assert both.runs == 2
    assert both.lines["test_collection"].reached == 1
    assert both.toggles["test_collection"].reached > 0


def test_an_explained_hole_is_excluded_and_a_wrong_explanation_is_refused(records: Path, tmp_path: Path) -> None:
    measured(records, tmp_path, COUNTING)
    entries = (
        Exclusion(unit="test_coll*", signal="bell", reason="the number is never reached"),
        Exclusion(unit="test_collection", text="with m.If(self.count == *", reason="the number is never reached"),
        Exclusion(unit="test_collection", signal="count", bits=(1, 1), reason="this bit does toggle"),
        Exclusion(unit="gone", signal="*", reason="there is no such unit"),
    )
    coverage = summarise(only_record(records).reached, [], (), Exclusions(entries), 1)
    assert {hole.what for hole in coverage.holes if hole.reason} >= {"bell 0->1 and 1->0", "with m.If(self.count == 254):"}
    assert coverage.unused == ["test_collection: count[1, 1]", "gone: *"]
    sentences = coverage.complaints({"lines": 0, "toggles": 0, "functional": 0})
    assert sentences[-1] == "exclusion of coverage matches no hole: gone: *"


def test_without_collection_nothing_is_added(tmp_path: Path) -> None:
    source = write_verilog({"counter": Counter()}, tmp_path / "counter.v")
    assert "probe" not in source.read_text(encoding="utf-8")
    assert not sidecar(source).exists()
