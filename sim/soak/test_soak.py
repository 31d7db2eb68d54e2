"""Random networks: what a seed decides, one on each bus, one whose tables are spoiled, and the loop around them."""

import io
import itertools
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sim.__main__
from sim.options import Bus
from sim.run import with_flipped_bit
from sim.small_network import bias_bit
from sim.soak.case import describe, draw, draw_circumstances
from sim.soak.check import BUNDLE, Outcome, check_seed
from sim.soak.loop import Check, command, soak, verdict
from sw.program import MemoryImage
from sw.spec.blocks import KINDS
from tb.block_cases import VARIANTS

TINY = "one_cluster_two_lanes"
"""Its models are those of other tests of whole runs."""


def first_seed(bus: Bus) -> int:
    """A seed whose network runs on TINY."""
    return next(seed for seed in range(1000) if (found := draw_circumstances(seed)).variant == TINY and found.bus == bus)


def test_a_seed_decides_everything() -> None:
    first, again, other = draw(5), draw(5), draw(6)
    assert first[0] == again[0]
    assert describe(*first) == describe(*again) != describe(*other)
    assert np.array_equal(first[1].image.words, again[1].image.words)
    assert np.array_equal(first[1].pixels, again[1].pixels)


def test_seeds_draw_all_kinds_on_all_configurations() -> None:
    drawn = [draw(seed) for seed in range(24)]
    blocks = [block for _, network in drawn for block in network.network.spec.blocks]
    assert {block.kind for block in blocks} == set(KINDS)
    assert {block.stride for block in blocks} == {1, 2}
    assert {block.kernel for block in blocks} == {3, 5}
    assert {block.squeeze_and_excite for block in blocks} == {False, True}
    assert {circumstances.variant for circumstances, _ in drawn} == set(VARIANTS)
    assert {circumstances.bus for circumstances, _ in drawn} == {"native", "axi"}
    assert any(network.refused for _, network in drawn), "none is near the limits of its configuration"


@pytest.mark.slow
@pytest.mark.parametrize("bus", ["native", "axi"])
def test_a_random_network_passes(bus: Bus, tmp_path: Path) -> None:
    said: list[str] = []
    outcome = check_seed(first_seed(bus), tmp_path / "seed", said.append)
    assert outcome.passed, outcome.reason
    assert said == [outcome.what]
    assert outcome.compared > 500
    assert outcome.cycles > 1000
    assert not (tmp_path / "seed").exists()


@pytest.mark.slow
def test_a_spoiled_table_is_found(tmp_path: Path) -> None:
    def spoiled(image: MemoryImage) -> MemoryImage:
        return with_flipped_bit(image, bias_bit(image, "dense", 7))

    outcome = check_seed(first_seed("native"), tmp_path / "seed", lambda _: None, spoiled)
    assert not outcome.passed
    assert "2 of " in outcome.reason, "a logit of each image"
    assert "layer='dense'" in outcome.reason
    assert (tmp_path / "seed" / BUNDLE).is_file()


def fake(fails: set[int], ends: int = 1 << 30, by: signal.Signals = signal.SIGINT) -> Check:
    def check(seed: int, _: Path, say: Callable[[str], None]) -> Outcome:
        say(f"network {seed}")
        if seed == ends:
            signal.raise_signal(by)
        return Outcome(seed, seed not in fails, f"network {seed}", "wrong" if seed in fails else "", compared=10)

    return check


def run_fakes(folder: Path, **options: object) -> tuple[list[Outcome], str]:
    stream = io.StringIO()
    outcomes = soak(Console(file=stream, width=200), 100, itertools.count(7), folder=folder, **options)  # type: ignore[arg-type]
    return outcomes, stream.getvalue()


def test_the_loop_goes_on_after_failures(tmp_path: Path) -> None:
    outcomes, printed = run_fakes(tmp_path, networks=4, check=fake({8}))
    assert [outcome.passed for outcome in outcomes] == [True, False, True, True]
    assert "seed 8: network 8" in printed
    assert printed.index("seed 8: network 8") < printed.index("seed 8 FAILED: wrong")
    assert "again: make soak SEED=8 NETWORKS=1" in printed
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [(row["seed"], row["passed"], row["again"]) for row in rows] == [
        (outcome.seed, outcome.passed, command(outcome.seed)) for outcome in outcomes
    ]
    assert pd.read_csv(tmp_path / "results.csv")["seed"].tolist() == [7, 8, 9, 10]
    assert verdict(outcomes).startswith("FAIL: 1 of 4 random networks failed; 40 numbers compared")
    assert verdict(outcomes[:1]).startswith("PASS: 0 of 1 ")


def test_the_loop_stops_at_a_failure_if_asked(tmp_path: Path) -> None:
    outcomes, _ = run_fakes(tmp_path, stop=True, check=fake({9}))
    assert [outcome.seed for outcome in outcomes] == [7, 8, 9]


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT interrupts, though a shell may have started the tests in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_results(by: signal.Signals, tmp_path: Path) -> None:
    outcomes, printed = run_fakes(tmp_path, check=fake(set(), ends=9, by=by))
    assert [outcome.seed for outcome in outcomes] == [7, 8]
    assert "interrupted at seed 9" in printed
    assert len(pd.read_csv(tmp_path / "results.csv")) == 2


def test_no_network_is_begun_after_the_time(tmp_path: Path) -> None:
    assert not soak(Console(file=io.StringIO()), 0, [1], folder=tmp_path, check=fake(set()))


@pytest.mark.parametrize(("fails", "code"), [(set(), 0), ({3}, 1)])
def test_the_command_tells_by_its_code(
    fails: set[int], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sim.__main__, "soak", lambda *args, **options: soak(*args, **options, folder=tmp_path, check=fake(fails))
    )
    monkeypatch.setattr(sim.__main__, "SOAK", tmp_path)
    assert sim.__main__.main(["soak", "--seed", "3", "--networks", "2"]) == code
    assert f"{1 if fails else 0} of 2 random networks failed" in capsys.readouterr().out
