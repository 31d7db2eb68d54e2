"""Runs cocotb tests on one unit of the RTL, or on the whole accelerator."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from hw.contract.config import ArchonConfig
from sim.model import Design
from sim.simulation import Result, TestRun, build_and_test
from sim.toolchain import Simulator
from sim.verilog import SHARED, unit_verilog
from tb.streams import SHARE_VARIABLE


def run_unit(
    unit: str,
    config: ArchonConfig,
    module: str,
    *,
    seed: int = 1,
    environment: Mapping[str, str] | None = None,
    names: tuple[str, ...] = (),
    share: tuple[int, int] = (0, 1),
    simulator: Simulator = "verilator",
) -> Result:
    """Export, build and test a unit; the tests find the configuration with `tb.bench.configuration`.

    Args:
        unit: As in sim.verilog.UNITS.
        config: Hardware configuration.
        module: Import path of the cocotb tests.
        seed: Of all random choices.
        environment: More variables for the tests.
        names: As in TestRun: run only these tests.
        share: Number and shares of tb.streams.stalls: one share for each of a unit's configurations.
        simulator: "verilator" or "icarus".

    Raises:
        ArchonError: unknown unit.
        SimulationFailedError: a test failed.
    """
    variables = {"ARCHON_CONFIG": TypeAdapter(ArchonConfig).dump_json(config).decode(), **(environment or {})}
    variables[SHARE_VARIABLE] = "{}/{}".format(*share)
    design = Design([unit_verilog(unit, config)], unit, repeated=SHARED.get(unit, ()))
    return build_and_test(design, TestRun(module, seed, variables, names), simulator=simulator)
