"""The tests whose coverage is measured, and measuring it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sim.coverage.exclusions import Exclusions
from sim.coverage.records import Record, merged
from sim.coverage.summary import Coverage, summarise
from sim.model import SimulationFailedError
from sim.toolchain import BUILD, REPOSITORY
from tb.coverage import CROSSES, FOLDER_VARIABLE

FOLDER = BUILD / "coverage"
RECORDS = FOLDER / "records"

TESTS: tuple[str, ...] = (
    "sim/test_rtl_block.py::test_blocks[one_cluster_two_lanes]",
    "sim/test_rtl_block.py::test_blocks[two_clusters_four_lanes]",
    "sim/test_rtl_block.py::test_blocks[two_lanes_kernel_five]",
    "sim/test_rtl_fixed.py::test_fixed_layers[two_clusters_that_cut_layers]",
    "sim/test_rtl_fixed.py::test_fixed_layers[two_clusters_eight_lanes]",
    "sim/test_rtl_fixed.py::test_fixed_layers[two_clusters_two_lanes_kernel_five]",
    "sim/test_rtl_kinds.py::test_kinds_of_blocks[one_cluster_that_cuts_groups]",
    "sim/test_rtl_kinds.py::test_kinds_of_blocks[two_lanes_kernel_five]",
    "sim/test_rtl_archon_axi.py",
    "sim/test_rtl_axi.py",
    "sim/test_rtl_image.py",
    "sim/test_rtl_lane.py::test_lane[2-1-3-2]",
    "sim/test_rtl_lane.py::test_lane[2-2-5-2]",
    "sim/test_rtl_memory_units.py::test_requantizer[2]",
    "sim/test_rtl_memory_units.py::test_residual_reader[2]",
    "sim/test_rtl_memory_units.py::test_table_loader[1-1-2-3]",
    "sim/test_rtl_memory_units.py::test_table_loader[8-2-4-5]",
    "sim/test_rtl_memory_units.py::test_activation_loader[2]",
    "sim/test_rtl_memory_units.py::test_descriptor_check[tiny-5]",
    "sim/test_rtl_memory_units.py::test_controller[3]",
    "sim/test_rtl_predictor.py::test_predictor[tiny]",
    "sim/test_rtl_predictor.py::test_predictor[wide]",
    "sim/test_rtl_predictor.py::test_predictor[kernel five]",
    "sim/test_rtl_predictor.py::test_expand_predictor[tiny]",
    "sim/test_rtl_predictor.py::test_expand_predictor[wide]",
    "sim/test_rtl_predictor.py::test_depthwise_predictor[wide]",
    "sim/test_rtl_survivor_scan.py::test_survivor_scan[4-3]",
    "sim/test_rtl_survivor_scan.py::test_survivor_scan[4-5]",
)
"""Unit tests and whole accelerators on small configurations: all units, both number formats of the predictor, two to eight
lanes, one to three clusters, kernels of 3 and 5. The other variants of the regression differ in depths and widths alone."""

PARALLEL = REPOSITORY / "sim" / "parallel.pytest"
"""Options with which pytest runs tests in several processes."""

SEEDS = 1500
"""Random networks among which those are run that add to functional coverage (sim.soak.covering)."""


def measure(tests: Sequence[str] = TESTS, seeds: int = SEEDS) -> Coverage:
    """Run tests and random networks with coverage, and merge what they reached.

    Raises:
        SimulationFailedError: a test failed, which leaves no coverage to speak of.
    """
    shutil.rmtree(RECORDS, ignore_errors=True)
    environment = os.environ | {FOLDER_VARIABLE: str(RECORDS)}
    for command in (
        ["pytest", "-q", f"@{PARALLEL}", *tests],
        ["sim", "soak", "--cover", str(seeds), "--minutes", "60", "--stop"],
    ):
        if subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, env=environment, check=False).returncode:
            raise SimulationFailedError(f"{command[0]} failed: coverage is measured of tests that pass")
    return coverage_of(RECORDS)


def coverage_of(records: Path) -> Coverage:
    """What the records of a folder reached together."""
    found = [Record.read(path) for path in sorted(records.glob("*.json"))]
    samples = [sample for record in found for sample in record.samples]
    return summarise(merged(found), samples, CROSSES, Exclusions.read(), len(found))
