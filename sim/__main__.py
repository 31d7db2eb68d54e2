"""Command line: python -m sim run NET, verilog, synth, fpga, formal, coverage, soak, estimate, explore, bench, registers."""

import dataclasses
import itertools
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from formal.catalogue import proofs
from hw.contract.config import ArchonConfig, preset
from hw.contract.errors import ArchonError
from hw.contract.memory import MEMORY_LATENCY
from sim.bench import run_benchmark
from sim.coverage.regression import FOLDER as COVERAGE
from sim.coverage.regression import RECORDS, coverage_of, measure
from sim.coverage.render import cross_table, unit_table
from sim.coverage.render import write_files as write_coverage
from sim.estimate import estimate
from sim.explore.render import points_table
from sim.explore.sweep import Exploration, Request
from sim.model import SimulationFailedError
from sim.options import Bus, Options
from sim.place_route import GRADES, place_and_route
from sim.proofs import Outcome, chosen, outcome_table, run_proof
from sim.registers import write_register_files
from sim.report import write_whole
from sim.run import run_network
from sim.soak.covering import covering
from sim.soak.loop import FOLDER as SOAK
from sim.soak.loop import soak, verdict, write_results
from sim.synthesis import SynthesisFailedError, synthesise
from sim.toolchain import BUILD, Simulator
from sim.verilog import unit_verilog

TOPLEVEL: Literal["archon"] = "archon"

TABLE_WIDTH = 144
"""Columns that the tables need; a narrower terminal wraps them, rather than losing digits."""

FAILED = 1
"""Exit code where something is wrong with the accelerator or its simulation."""
REFUSED = 2
"""Exit code for bad input."""

Kernel = Annotated[int | None, Parameter(help="largest depthwise kernel of the hardware, 3 or 5; else what NETWORK needs")]

app = App(name="sim", help="Simulate, export, synthesise, prove, cover and time the accelerator.")


@app.command
def run(
    network: str,
    *,
    images: Annotated[int | None, Parameter(help="how many test images")] = None,
    lanes: Annotated[int | None, Parameter(help="1, 2, 4 or a multiple of 8; else the preset's")] = None,
    seed: Annotated[int, Parameter(help="chooses the images")] = 1,
    waves: Annotated[bool, Parameter(help="record waveforms", negative="")] = False,
    simulator: Simulator = "verilator",
    preset: Annotated[str | None, Parameter(help="else the smallest that fits")] = None,
    latency: Annotated[int, Parameter(help="of external memory, in cycles")] = MEMORY_LATENCY,
    bus: Annotated[Bus, Parameter(help="the accelerator's own streams, or AXI with the host's driver")] = "native",
    trace: Annotated[bool, Parameter(help="write trace.json for Perfetto", negative="")] = False,
    flip_bit: Annotated[int | None, Parameter(help="invert this bit of the tables, to see the run FAIL")] = None,
    kernel: Kernel = None,
) -> int:
    """Run NETWORK (a known name or the path of a bundle) on real images and compare every bit with the golden model."""
    console = wide_console()
    options = Options(network, images, lanes, seed, waves, simulator, preset, latency, flip_bit, bus, trace, kernel)
    outcome = run_network(options, console)
    for path in outcome.files:
        console.print(f"written: {path}", highlight=False)
    console.print(f"again: {outcome.report.command}", highlight=False)
    return 0 if outcome.report.passed else FAILED


@app.command(name="estimate")
def estimate_network(
    network: str,
    *,
    lanes: Annotated[int | None, Parameter(help="1, 2, 4 or a multiple of 8; else the preset's")] = None,
    seed: Annotated[int, Parameter(help="chooses the image")] = 1,
    preset: Annotated[str | None, Parameter(help="else the smallest that fits")] = None,
    latency: Annotated[int, Parameter(help="of external memory, in cycles")] = MEMORY_LATENCY,
) -> int:
    """Estimate the cycles of NETWORK's layers without simulating, beside those of the last run."""
    console = wide_console()
    found = estimate(network, preset, lanes, seed, console, latency)
    console.print(found.table())
    for path in found.write(BUILD / found.network):
        console.print(f"written: {path}", highlight=False)
    return 0


@app.command
def explore(
    network: str = "fusionet-nano",
    *,
    preset: Annotated[str | None, Parameter(help="around which the points lie, else the smallest that fits")] = None,
    many: Annotated[bool, Parameter(help="more points", negative="")] = False,
    confirm: Annotated[int | None, Parameter(help="how many Pareto points to run on the RTL, else all")] = None,
    seed: Annotated[int, Parameter(help="chooses the image")] = 1,
    latency: Annotated[int, Parameter(help="of external memory, in cycles")] = MEMORY_LATENCY,
) -> int:
    """Compare accelerators for NETWORK by cycles and area, and draw them. What is known from before is not done again."""
    console = wide_console()
    exploration = Exploration(Request(network, preset, many, confirm, seed, latency))
    files = exploration.run(console)
    console.print(points_table(exploration.journal.points))
    for path in files:
        console.print(f"written: {path}", highlight=False)
    return 0


WithCounters = Annotated[bool, Parameter(help="count what units do in every cycle")]
OfKernel = Annotated[int | None, Parameter(help="largest depthwise kernel, 3 or 5; else the preset's")]


@app.command
def verilog(
    name: str,
    *,
    counters: WithCounters = True,
    kernel: OfKernel = None,
    top: Annotated[Literal["archon", "archon_axi"], Parameter(help="bare streams, or AXI")] = TOPLEVEL,
) -> int:
    """Write the accelerator of a preset as one Verilog file."""
    text = unit_verilog(top, _preset(name, counters, kernel)).read_text(encoding="utf-8")
    path = BUILD / "verilog" / name / f"{top}.v"
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    wide_console().print(f"{path}: {path.stat().st_size:,} bytes", highlight=False)
    return 0


@app.command
def synth(name: str, *, target: str = "ecp5", counters: WithCounters = True, kernel: OfKernel = None) -> int:
    """Synthesise the accelerator of a preset and print the cells of every unit."""
    console = wide_console()
    folder = BUILD / "synthesis" / f"{name}-{target}"
    text = unit_verilog(TOPLEVEL, _preset(name, counters, kernel)).read_text(encoding="utf-8")
    with console.status(f"synthesising {name} for {target}"):
        report = synthesise(text, TOPLEVEL, folder, target=target)
    report.write(folder / "report.json")
    console.print(report.table())
    console.print(f"written: {folder / 'report.json'}", highlight=False)
    return 0


@app.command
def fpga(
    name: str,
    *,
    counters: WithCounters = True,
    kernel: OfKernel = None,
    grade: Annotated[int, Parameter(help="the device's speed grade, 6, 7 or 8")] = GRADES[-1],
) -> int:
    """Place and route the accelerator of a preset; print its clock, the slowest path and how full the device is."""
    console = wide_console()
    folder = BUILD / "fpga" / name
    text = unit_verilog(TOPLEVEL, _preset(name, counters, kernel)).read_text(encoding="utf-8")
    with console.status(f"placing and routing {name}"):
        report = place_and_route(text, TOPLEVEL, folder, grade)
    report.write(folder / "report.json")
    console.print(report.tables())
    console.print(f"written: {folder / 'report.json'}", highlight=False)
    return 0


@app.command
def formal(*, only: Annotated[str | None, Parameter(help="a proof, or the beginning of some proofs' names")] = None) -> int:
    """Prove properties of the units (docs/verification.md)."""
    console = wide_console()
    outcomes: list[Outcome] = []
    with console.status("proving") as status:
        for proof in chosen(proofs(), only):
            status.update(f"proving {proof.name}")
            outcomes += run_proof(proof)
    console.print(outcome_table(outcomes))
    failed = [outcome for outcome in outcomes if not outcome.holds]
    for outcome in failed:
        console.print(outcome.sentences(), style="red", highlight=False, markup=False)
    return FAILED if failed else 0


@app.command
def coverage(*, merge: Annotated[bool, Parameter(help="the last runs' records again", negative="")] = False) -> int:
    """Measure which branches, toggles and kinds of layers the tests reach (docs/verification.md)."""
    console = wide_console()
    found = coverage_of(RECORDS) if merge else measure()
    console.print(unit_table(found))
    console.print(cross_table(found))
    for path in write_coverage(found, COVERAGE):
        console.print(f"written: {path}", highlight=False)
    for complaint in found.complaints():
        console.print(complaint, style="red", highlight=False, markup=False)
    return FAILED if found.complaints() else 0


@app.command(name="soak")
def soak_networks(
    *,
    minutes: Annotated[float, Parameter(help="after which no further network is begun")] = 30,
    seed: Annotated[int, Parameter(help="of the first network; each following one has the next")] = 1,
    networks: Annotated[int | None, Parameter(help="how many at most")] = None,
    stop: Annotated[bool, Parameter(help="at the first network that fails", negative="")] = False,
    cover: Annotated[int | None, Parameter(help="of so many seeds those that add to functional coverage")] = None,
) -> int:
    """Run random networks on random configurations against the golden model (docs/verification.md)."""
    console = wide_console()
    seeds = itertools.count(seed) if cover is None else covering(range(seed, seed + cover))
    outcomes = soak(console, 60 * minutes, seeds, networks=networks, stop=stop)
    for path in write_results(outcomes, SOAK):
        console.print(f"written: {path}", highlight=False)
    console.print(verdict(outcomes), highlight=False, markup=False)
    return FAILED if any(not outcome.passed for outcome in outcomes) else 0


@app.command
def bench(
    network: str = "fusionet-nano",
    *,
    runs: Annotated[int, Parameter(help="of everything")] = 3,
    preset: Annotated[str | None, Parameter(help="else the smallest that fits")] = None,
    lanes: Annotated[int | None, Parameter(help="1, 2, 4 or a multiple of 8; else the preset's")] = None,
) -> int:
    """Measure how fast, and in how much memory, models are built and NETWORK is simulated and computed."""
    console = wide_console()
    benchmark = run_benchmark(network, runs, preset, lanes, console)
    console.print(benchmark.table())
    for path in benchmark.write(BUILD):
        console.print(f"written: {path}", highlight=False)
    return 0


@app.command
def registers() -> int:
    """Write the register map's document and C header anew."""
    for path in write_register_files():
        wide_console().print(f"written: {path}", highlight=False)
    return 0


def _preset(name: str, counters: bool, kernel: int | None) -> ArchonConfig:
    config = dataclasses.replace(preset(name), counters=counters)
    return config if kernel is None else dataclasses.replace(config, kernel=kernel)


def wide_console() -> Console:
    """A console with room for the tables."""
    console = Console(soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    return console


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. Bad input ends in one sentence and REFUSED, a failed simulation or synthesis in FAILED."""
    try:
        return int(app(arguments, exit_on_error=True, result_action="return_value") or 0)  # --help returns nothing
    except ArchonError as error:
        code, message = REFUSED, str(error)
    except (SimulationFailedError, SynthesisFailedError) as error:
        code, message = FAILED, str(error)
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", highlight=False, markup=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
