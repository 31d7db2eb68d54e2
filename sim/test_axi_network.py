"""A small network over AXI, driven by the host's driver."""

from pathlib import Path

import numpy as np
import pytest

from sim.accelerator import Settings, prepare, read_outputs, run_images
from sim.hardware import choose_hardware
from sim.options import Options
from sim.reference import make_reference
from sim.run import build_model, choose_images
from sim.simulation import TestRun, run
from sim.small_network import make_network, small_spec

NETWORK = make_network(small_spec())
HARDWARE = choose_hardware(NETWORK)


@pytest.mark.slow
def test_a_network_over_axi_gives_the_golden_models_numbers(tmp_path: Path) -> None:
    reference = make_reference(NETWORK, choose_images(small_spec(), 2, 1).images, HARDWARE.image)
    ended: list[int] = []
    model = build_model(HARDWARE, Options("", bus="axi"))
    runs = run_images(model, HARDWARE.image, reference, Settings(tmp_path, latency=5, bus="axi"), ended.append)
    for result, outputs in zip(runs, reference.outputs, strict=True):
        assert list(result.outputs) == list(outputs)
        for name, output in outputs.items():
            assert np.array_equal(result.outputs[name], output), name
        assert len(result.reports) == len(HARDWARE.image.network_program.jobs)


@pytest.mark.slow
def test_stopped_runs_leave_no_trace(tmp_path: Path) -> None:
    reference = make_reference(NETWORK, choose_images(small_spec(), 1, 2).images, HARDWARE.image)
    model = build_model(HARDWARE, Options("", bus="axi"))
    plan = prepare(HARDWARE.image, reference, Settings(tmp_path, bus="axi"))
    run(model, TestRun("tb.network_failures_tests", environment=plan.environment()), tmp_path)
    got = read_outputs(tmp_path, HARDWARE.image, 0)
    for name, output in reference.outputs[0].items():
        assert np.array_equal(got[name], output), name
