"""The quick proofs, and queues that must not be proven."""

import dataclasses
import io
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import fifo
from rich.console import Console

import hw.rtl.axi.burst_splitter
import hw.rtl.axi.register_bank
import hw.rtl.axi.window_guard
from formal.bench import Bench
from formal.catalogue import proofs
from formal.order import queue
from formal.proof import Proof
from formal.windows import windows
from hw.contract.config import preset
from hw.contract.errors import ArchonError
from hw.contract.registers import REGISTERS
from hw.rtl.queue import Queue
from sim.proofs import chosen, outcome_table, run_proof

QUICK = chosen(proofs(), None, quick=True)


class WrongQueue(Queue):
    """A queue with a fault: it loses a payload when it is full, repeats one, or lets one overtake another."""

    fault = ""

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        payload_in, payload_out = Value.cast(self.input.payload), Value.cast(self.output.payload)
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=len(payload_in), depth=self._depth)
        second, both = Signal(), Signal()
        m.d.sync += second.eq(~second)
        m.d.comb += [
            both.eq((self.fault == "overtakes") & self.input.valid & buffer.w_rdy & buffer.r_rdy & self.output.ready),
            buffer.w_data.eq(Mux(both, buffer.r_data, payload_in)),
            buffer.w_en.eq(self.input.valid),
            self.input.ready.eq(buffer.w_rdy | (self.fault == "loses")),
            payload_out.eq(Mux(both, payload_in, buffer.r_data)),
            self.output.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.output.ready & (second | (self.fault != "repeats"))),
        ]
        return m


def faulty(fault: str) -> type[Queue]:
    return type(f"Queue_{fault}", (WrongQueue,), {"fault": fault})


@pytest.mark.parametrize("proof", QUICK, ids=[proof.name for proof in QUICK])
def test_quick_proofs_hold(proof: Proof, tmp_path: Path) -> None:
    outcomes = list(run_proof(proof, tmp_path))
    assert [outcome.mode for outcome in outcomes] == ["induction", "cover"]
    assert all(outcome.holds for outcome in outcomes), outcomes


def test_the_test_queue_without_a_fault_is_right(tmp_path: Path) -> None:
    assert next(iter(run_proof(Proof("right", partial(queue, 4, 3, faulty(""))), tmp_path))).holds


@pytest.mark.parametrize("fault", ["loses", "repeats", "overtakes"])
def test_a_wrong_queue_fails(fault: str, tmp_path: Path) -> None:
    proof = Proof(fault, partial(queue, 4, 3, faulty(fault)), depth=8)
    outcome = next(iter(run_proof(proof, tmp_path)))
    assert not outcome.holds
    assert outcome.result == "fails:"
    assert "formal/order.py" in outcome.place or "formal/bench.py" in outcome.place
    assert outcome.trace is not None
    assert outcome.trace.is_file()
    assert f"again: make formal ONLY={fault}" in outcome.sentences()
    assert str(outcome.trace) in outcome.sentences()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(outcome_table([outcome]))
    assert "0 of 1 hold" in console.export_text()


def contradiction() -> Bench:
    bench = queue(4, 2)
    bench.assume(0)
    return bench


def impossible() -> Bench:
    bench = queue(4, 2)
    bit = bench.any_bit("bit")
    bench.cover(bit & ~bit)
    return bench


UNLOCKED = tuple(dataclasses.replace(register, locked=False) for register in REGISTERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (hw.rtl.axi.window_guard, "WORD_BYTES", 4),  # a burst may end behind the window
        (hw.rtl.axi.window_guard, "BYTE_ADDRESS_BITS", 41),  # or wrap around behind the last address
        (hw.rtl.axi.burst_splitter, "BURST_WORDS_MAX", 1024),  # or leave its page
        (hw.rtl.axi.register_bank, "REGISTERS", UNLOCKED),  # windows change while bursts are on offer
    ],
    ids=["end", "wrap", "page", "unlocked"],
)
def test_a_hole_in_the_windows_is_found(
    place: ModuleType, name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, value)
    outcome = next(iter(run_proof(Proof(name, partial(windows, preset("tiny"))), tmp_path)))
    assert not outcome.holds
    assert outcome.result == "not proven by induction:"
    assert "formal/windows.py" in outcome.place


def test_contradicting_assumptions_prove_nothing(tmp_path: Path) -> None:
    outcome = next(iter(run_proof(Proof("contradiction", contradiction), tmp_path)))
    assert not outcome.holds
    assert outcome.result == "its assumptions exclude everything"


def test_what_cannot_happen_is_not_covered(tmp_path: Path) -> None:
    proven, covered = run_proof(Proof("impossible", impossible, cover_depth=6), tmp_path)
    assert proven.holds
    assert not covered.holds
    assert covered.result == "not all reached:"
    assert "sim/test_proofs.py" in covered.place


def test_proofs_are_chosen_by_the_beginning_of_their_names() -> None:
    names = [proof.name for proof in proofs()]
    assert len(set(names)) == len(names)
    assert [proof.name for proof in chosen(proofs(), "queue-16")] == ["queue-16"]
    assert {proof.name for proof in chosen(proofs(), "queue")} == {name for name in names if name.startswith("queue-")}
    with pytest.raises(ArchonError, match="unknown proof 'queues', expected the beginning of one of queue-2"):
        chosen(proofs(), "queues")
