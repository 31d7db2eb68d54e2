import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from hw.contract.errors import ArchonError
from sim.synthesis import Area, SynthesisFailedError, SynthesisReport, UnitArea, synthesise, unit_areas, unit_name

UNIT = """module \\top.{name} (clk, a, y);
  input clk;
  input [7:0] a;
  output [15:0] y;
  reg [15:0] y;
  reg \\$auto$verilog_backend.cc:2355:dump_module${serial}  = 0;
  always @(posedge clk) y <= {value};
endmodule
"""
TOP = """module top(clk, a, x, y, z);
  input clk;
  input [7:0] a;
  output [15:0] x, y, z;
  \\top.lane_0  lane_0 (
    .clk(clk), .a(a), .y(x)
  );
  \\top.lane_1  lane_1 (
    .clk(clk), .a(a), .y(y)
  );
  \\top.square  square (
    .clk(clk), .a(a), .y(z)
  );
endmodule
"""
DESIGN = "\n".join([
    TOP,
    UNIT.format(name="lane_0", serial=3, value="a + 8'd3"),
    UNIT.format(name="lane_1", serial=5, value="a + 8'd3"),
    UNIT.format(name="square", serial=7, value="a * a"),
])  # fmt: skip


def test_cells_are_multiplied_through_the_hierarchy() -> None:
    cells = {
        "top": {"LUT4": 7, "top.cluster_0": 2, "top.cluster_1": 1},
        "top.cluster_0": {"TRELLIS_FF": 5, "top.cluster_0.lane": 4},
        "top.cluster_1": {"TRELLIS_FF": 6},
        "top.cluster_0.lane": {"MULT18X18D": 1, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "DP16KD": 1, "PDPW16KD": 1},
        "unused": {"LUT4": 1000},
    }
    units = {unit.unit: unit for unit in unit_areas(cells, "top")}
    assert set(units) == {"top", "cluster", "cluster.lane"}
    assert units["cluster.lane"].instances == 8
    assert units["cluster.lane"].area == Area(ccu2c=24, dpr16x4=16, dsp=8, bram=16)
    assert units["cluster.lane"].area.lut4_sites == 24 * 2 + 16 * 6
    assert units["cluster"].instances == 3
    assert units["cluster"].area == Area(ff=16)


@pytest.mark.parametrize(
    ("module", "unit"),
    [("archon", "archon"), ("archon.cluster_0.lane_13.scan", "cluster.lane.scan"), ("archon.r1", "r")],
)
def test_unit_names_leave_out_instance_numbers(module: str, unit: str) -> None:
    assert unit_name(module, "archon") == unit


def test_synthesis_counts_multipliers(tmp_path: Path) -> None:
    report = synthesise(DESIGN, "top", tmp_path / "area")
    units = {unit.unit: unit for unit in report.units}
    assert units["lane"].instances == 2
    assert units["lane"].area.dsp == 0
    assert units["lane"].area.lut4_sites > 0
    assert units["square"].area.dsp == 1
    assert report.total.dsp == 1
    assert report.total.ff == sum(unit.area.ff for unit in report.units)
    report.write(tmp_path / "area.json")
    written = json.loads((tmp_path / "area.json").read_text(encoding="utf-8"))
    assert written["total"]["dsp"] == 1
    assert written["total"]["lut4_sites"] == report.total.lut4_sites


def test_table_sums_up_the_small_units() -> None:
    parts = {"lane": Area(lut4=900), "store": Area(bram=2), "queue": Area(lut4=5), "counter": Area(lut4=4, ff=8)}
    units = [UnitArea(name, 1, area) for name, area in parts.items()]
    report = SynthesisReport("archon", "ecp5", units, sum(parts.values(), Area()), 1.0, "Yosys")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.table())
    rows = {line.split()[0]: line.split()[1:] for line in console.export_text().splitlines() if line.split()}
    assert rows["lane"][1] == "900"
    assert rows["store"][-1] == "2"
    assert rows["2"] == ["smaller", "units", "9", "9", "0", "0", "8", "0", "0"]
    assert rows["total"] == ["909", "909", "0", "0", "8", "0", "2"]
    assert "counter" not in rows


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match="unknown target 'asic', expected one of ecp5"):
        synthesise(DESIGN, "top", tmp_path, target="asic")
    with pytest.raises(SynthesisFailedError, match=r"could not synthesise absent for ecp5; log: .*yosys\.log"):
        synthesise(DESIGN, "absent", tmp_path)
