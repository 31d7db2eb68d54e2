"""The benchmark: medians, memory, files, and that the C++ main function computes what cocotb's simulation does."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from hw.contract.errors import ArchonError
from sim.__main__ import main
from sim.accelerator import Settings, run_images
from sim.bench import Subject, Task, in_own_process, measure, simulate
from sim.bench_report import Benchmark
from sim.hardware import choose_hardware
from sim.harness import harness_design
from sim.model import Design, SimulationFailedError, build
from sim.peak_memory import PeakMemory
from sim.plain import plain_design, run_plain
from sim.reference import Tensor, make_reference
from sim.run import progress_bar
from sim.small_network import make_network, small_spec
from sw.bundle import find_bundle, save_bundle
from sw.datasets import load_excerpt

HOLDS_MEMORY = "import time; held = bytearray(100 << 20); held[::4096] = b'x' * len(held[::4096]); time.sleep(0.5)"


def example() -> Benchmark:
    values = iter([3.0, 7.0, 1.0, 8.0, 2.0, 9.0])
    tasks = [Task("first", "s", lambda: next(values)), Task("second", "images/s", lambda: next(values))]
    with progress_bar(Console(quiet=True)) as bar:
        bar.add_task("", total=None)
        measurements = measure(tasks, 3, bar)
    return Benchmark(
        network="example", preset="tiny", lanes=2, images=1, cycles=9, runs=3, processors=None, load=0.5, versions={},
        measurements=measurements,
    )  # fmt: skip


def test_tasks_take_turns_and_medians_are_taken() -> None:
    first, second = example().measurements
    assert (first.values, first.median) == ([3, 1, 2], 2)
    assert (second.values, second.median) == ([7, 8, 9], 8)
    assert second.unit == "images/s"


def test_files_and_table_hold_the_figures(tmp_path: Path) -> None:
    benchmark = example()
    assert [path.name for path in benchmark.write(tmp_path)] == ["bench.json", "bench.csv"]
    assert Benchmark.model_validate_json((tmp_path / "bench.json").read_text(encoding="utf-8")) == benchmark
    table = pd.read_csv(tmp_path / "bench.csv")
    assert table[["name", "median", "least", "most"]].to_numpy().tolist() == [["first", 2, 1, 3], ["second", 8, 7, 9]]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(benchmark.table())
    assert "example on 2 lanes: medians of 3 runs" in capture.get()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="memory is read from /proc")
def test_memory_of_all_processes_below_is_seen() -> None:
    with PeakMemory() as nothing:
        pass
    assert nothing.mebibytes is None
    with PeakMemory() as peak:
        subprocess.run(
            [sys.executable, "-c", f"import os, sys\nif os.fork() == 0:\n {HOLDS_MEMORY}\nelse: os.wait()"], check=True
        )
    assert peak.mebibytes is not None
    assert 100 < peak.mebibytes < 300


def test_tasks_run_in_a_process_of_their_own() -> None:
    assert in_own_process("golden_layerwise", find_bundle("fusionet-nano"), 1) > 0
    with pytest.raises(SimulationFailedError, match="KeyError: 'unheard of'"):
        in_own_process("unheard of")


@pytest.mark.parametrize("runs", [0, 101])
def test_impossible_runs_are_refused(runs: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--runs", str(runs)]) == 2
    assert f"RUNS must be 1 to 100, got {runs}" in capsys.readouterr().err


def test_a_main_function_needs_verilator(tmp_path: Path) -> None:
    source = tmp_path / "empty.v"
    source.write_text("module empty(input clk); endmodule\n", encoding="utf-8")
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    with pytest.raises(ArchonError, match=r"a C\+\+ main function needs the simulator verilator, got icarus"):
        build(Design([source], "empty", main=source), simulator="icarus")


@pytest.mark.slow
def test_the_plain_simulation_gives_the_same(tmp_path: Path) -> None:
    network = make_network(small_spec())
    hardware = choose_hardware(network)
    design = harness_design(hardware.config, len(hardware.image.words))
    reference = make_reference(network, load_excerpt().images[:2], hardware.image)
    folders = [tmp_path / "cocotb", tmp_path / "plain"]
    for folder in folders:
        folder.mkdir()
    model = build(plain_design(design))
    plain = run_plain(model, hardware.image, reference, Settings(folders[1]))
    cocotb = run_images(build(design), hardware.image, reference, Settings(folders[0]))
    for one, other in zip(plain, cocotb, strict=True):
        assert list(one.outputs) == list(other.outputs)
        for name, tensor in one.outputs.items():
            np.testing.assert_array_equal(tensor, other.outputs[name])
        durations = [[r["end_cycle"] - r["start_cycle"] for r in run.reports] for run in (one, other)]
        assert durations[0] == durations[1]
        assert abs(one.cycles - other.cycles) < 20
    subject = Subject(tmp_path / "unused", hardware, design, reference, tmp_path)
    assert simulate(subject, model, run_plain) > 0
    wrong: list[Mapping[str, Tensor]] = [{name: ~tensor for name, tensor in outputs.items()} for outputs in reference.outputs]
    subject = dataclasses.replace(subject, reference=dataclasses.replace(reference, outputs=wrong))
    with pytest.raises(SimulationFailedError, match=r"numbers differ; first: Difference\(image=0, layer='image'"):
        simulate(subject, model, run_plain)


@pytest.mark.slow
def test_the_benchmark_leaves_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.bench.BUILD", tmp_path)
    monkeypatch.setattr("sim.bench.OPTIMIZE", 1)  # then other tests have built two of the three models
    monkeypatch.setattr("sim.__main__.BUILD", tmp_path)
    bundle = tmp_path / "small.archon"
    save_bundle(make_network(small_spec()), bundle)
    assert main(["bench", str(bundle), "--runs", "1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"small.archon", "bench.json", "bench.csv"}
    benchmark = Benchmark.model_validate_json((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert (benchmark.network, benchmark.preset, benchmark.lanes, benchmark.images) == ("sim-test", "tiny", 2, 2)
    assert len(benchmark.measurements) == 6
    assert all(item.median > 0 and item.processor_seconds > 0 for item in benchmark.measurements)
