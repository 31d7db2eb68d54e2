"""The arbiters in simulation."""

from pathlib import Path

import pytest
from amaranth.lib import wiring

from hw.rtl.arbiter import ReadArbiter, StreamArbiter
from hw.rtl.interfaces import WRITE
from sim.model import Design
from sim.simulation import TestRun, build_and_test
from sim.verilog import write_verilog


@pytest.mark.parametrize(
    ("kind", "clients", "background"), [("read", 1, 0), ("read", 3, 0), ("read", 3, 1), ("stream", 1, 0), ("stream", 3, 0)]
)
def test_arbiter(kind: str, clients: int, background: int, tmp_path: Path) -> None:
    reads = kind == "read"
    arbiter: wiring.Component = ReadArbiter(clients, background=background) if reads else StreamArbiter(WRITE, clients)
    source = write_verilog({"arbiter": arbiter}, tmp_path / "arbiter.v")
    run = TestRun(
        f"tb.{kind}_arbiter_tests", environment={"ARCHON_CLIENTS": str(clients), "ARCHON_BACKGROUND": str(background)}
    )
    build_and_test(Design([source], "arbiter"), run)
