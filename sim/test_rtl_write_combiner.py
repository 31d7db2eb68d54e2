"""The write combiner in simulation."""

from pathlib import Path

from amaranth.back import verilog

from hw.rtl.write_combiner import WriteCombiner
from sim.model import Design
from sim.simulation import TestRun, build_and_test


def test_write_combiner(tmp_path: Path) -> None:
    source = tmp_path / "write_combiner.v"
    source.write_text(verilog.convert(WriteCombiner(), name="write_combiner", emit_src=False, strip_internal_attrs=True))
    build_and_test(Design([source], "write_combiner"), TestRun("tb.write_combiner_tests"))
