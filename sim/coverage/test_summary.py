"""Wires of Verilog that count, merging, exclusions, thresholds and crosses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hw.contract.errors import ArchonError
from sim.coverage.exclusions import Exclusion, Exclusions
from sim.coverage.netlist import counted, parse
from sim.coverage.points import Place
from sim.coverage.records import Reached, Record, merged
from sim.coverage.regression import TESTS
from sim.coverage.render import write_files
from sim.coverage.summary import Coverage, Share, summarise
from sim.toolchain import REPOSITORY
from tb.coverage import AXES, CROSSES, Cross, Rule

VERILOG = r"""
(* src = "hw/rtl/outer.py:5" *)
module outer(clk, in, out);
  wire \$1 ;
  input clk;
  (* src = "hw/rtl/outer.py:6" *)
  input [3:0] in;
  wire [3:0] in;
  (* src = "hw/rtl/outer.py:7" *)
  output [3:0] out;
  wire [3:0] out;
  (* src = "hw/rtl/outer.py:7" *)
  wire [1:0] \out.low ;
  (* src = "hw/rtl/outer.py:8" *)
  wire [2:0] extended;
  (* src = "hw/rtl/outer.py:9" *)
  wire inside;
  (* src = "hw/rtl/outer.py:10" *)
  reg [3:0] words [7:0];
  (* src = "hw/rtl/outer.py:11" *)
  \outer.inner  inner (
    .a(\$1 ),
    .b(inside)
  );
  assign \$1  = in[0] & in[1];
  assign out = { 1'h0, inside, \out.low  };
  assign extended = { \out.low [1], \out.low [1:0] };
endmodule

(* src = "hw/rtl/inner.py:3" *)
module \outer.inner (a, b);
  input a;
  wire a;
  (* src = "hw/rtl/inner.py:4" *)
  output b;
  reg b;
endmodule
"""


def test_every_bit_counts_once_and_where_it_is_computed() -> None:
    found = {(module.unit, wire, bit) for module, wire, bit in counted(parse(VERILOG))}
    assert found == {("outer", "\\out.low", 0), ("outer", "\\out.low", 1), ("inner", "b", 0)}


def signal(name: str) -> Place:
    return Place("unit", name, "hw/rtl/unit.py", 3, 0)


def test_records_are_read_as_written_and_merged(tmp_path: Path) -> None:
    first = Record("first", {signal("a"): Reached(0b11, 0b01, 0b00)}, [{"kind": ["fused"]}])
    first.write(tmp_path / "first.json")
    assert Record.read(tmp_path / "first.json") == first
    wider = Record("wider", {signal("a"): Reached(0b111, 0b10, 0b01), signal("b"): Reached(1, 0, 0)})
    assert merged([first, wider]) == {signal("a"): Reached(0b111, 0b11, 0b01), signal("b"): Reached(1, 0, 0)}


def test_bits_and_ways_that_are_missing_are_named() -> None:
    coverage = summarise({signal("a"): Reached(0b11111, 0b01001, 0b00001)}, [], (), Exclusions(()), 1)
    assert [(hole.what, hole.points) for hole in coverage.holes] == [("a[4, 2:1] 0->1 and 1->0", 6), ("a[3] 1->0", 1)]
    assert coverage.toggles["unit"] == Share(10, 3, 0)


def test_brackets_in_names_are_no_patterns() -> None:
    entry = Exclusion(unit="*", signal="taps[*].value", bits=(2, 3), reason="only for this test")
    assert entry.covers_signal("unit", "taps[10].value", 2)
    assert not entry.covers_signal("unit", "taps[10].value", 4)
    assert not entry.covers_signal("unit", "taps1.value", 2)


@pytest.mark.parametrize(
    "text",
    [
        "[[exclusion]]\nunit = 'a'\nsignal = 'b'\n",
        "[[exclusion]]\nunit = 'a'\nreason = 'neither signal nor text'\n",
        "[[exclusion]]\nunit = 'a'\nsignal = 'b'\ntext = 'c'\nreason = 'both of them'\n",
        "[[exclusion]]\nunit = 'a'\nsignal = 'b'\nline = 4\nreason = 'no line numbers'\n",
        "[[",
    ],
)
def test_a_bad_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "exclusions.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArchonError, match=r"exclusions\.toml"):
        Exclusions.read(path)


def test_too_little_is_a_complaint() -> None:
    coverage = Coverage(1, {"unit": Share(100, 93, 2)}, {"unit": Share(100, 96, 0)}, {"layers": Share(3, 1, 2)})
    assert coverage.complaints() == ["lines: at least 95.0 % expected, got 94.90 %"]


def test_crosses_count_what_can_be() -> None:
    rule = Rule("a residual needs stride 1", lambda values: values["residual"] == "yes" and values["stride"] == "2")
    cross = Cross("both", ("stride", "residual"), (rule,))
    samples = [{"stride": ["1"], "residual": ["no"]}, {"stride": ["1", "2"]}]
    coverage = summarise({}, samples, [cross], Exclusions(()), 1)
    assert coverage.functional["both"] == Share(4, 1, 1)
    assert {hole.what for hole in coverage.holes if not hole.reason} == {"stride 1, residual yes", "stride 2, residual no"}
    assert not coverage.possible
    contradicting = [*samples, {"stride": ["2"], "residual": ["yes"]}]
    contradicted = summarise({}, contradicting, [cross], Exclusions(()), 1)
    assert contradicted.possible == ["both: stride 2, residual yes (a residual needs stride 1)"]


def test_every_cross_is_of_known_axes_and_every_rule_rules_something_out() -> None:
    for cross in CROSSES:
        assert set(cross.axes) <= set(AXES)
        used = {rule.reason for _, rule in cross.points() if rule is not None}
        assert used == {rule.reason for rule in cross.rules}


def test_files_hold_the_holes(tmp_path: Path) -> None:
    coverage = summarise({signal("a<b"): Reached(1, 0, 0)}, [], (), Exclusions(()), 1)
    written = {path.name: path.read_text(encoding="utf-8") for path in write_files(coverage, tmp_path)}
    assert json.loads(written["coverage.json"])["holes"][0]["what"] == "a<b 0->1 and 1->0"
    assert "a<b 0->1 and 1->0" in written["coverage.csv"]
    assert "a&lt;b 0-&gt;1" in written["coverage.html"]


def test_the_tests_that_are_measured_exist() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *TESTS]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
