"""The trace of what units do: made of a real run, it is a trace that reconciles; made of random runs, it stays exact."""

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import sim.run
from hw.contract.activity import STATES, Unit, instances, observed, observed_bits, sources
from hw.contract.config import ArchonConfig, preset
from hw.contract.errors import ArchonError
from sim.options import Options
from sim.run import run_network
from sim.small_network import make_network, small_spec
from sim.trace import Track, choose_slices, merged_slices, read_recording, unit_tracks
from sw.bundle import save_bundle

CONFIG = preset("tiny")


def test_a_run_leaves_a_trace_that_says_what_the_counters_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim.run, "BUILD", tmp_path)
    bundle = tmp_path / "sim-test.archon"
    save_bundle(make_network(small_spec()), bundle)
    outcome = run_network(Options(str(bundle), images=2, trace=True), Console(quiet=True))
    path = tmp_path / "sim-test" / "trace.json"
    assert outcome.report.passed
    assert path in outcome.files
    assert "TRACE=1" in outcome.report.command
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    tracks = check_events(events)
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    expected: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(STATES, 0.0))
    for row in outcome.report.activity:
        for state in STATES:
            expected[row.unit][state] += outcome.report.images * getattr(row, state)
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(STATES, 0.0))
    for place, slices in tracks.items():
        for event in slices if names[place] != "jobs" else ():
            for state, cycles in event.get("args", {event["name"]: event["dur"]}).items():
                found[names[place].rstrip(" 0123456789")][state] += cycles
    for unit in Unit:
        # The report's drain has the cycles without a job, too.
        for state in ("busy", "starved", "blocked"):
            assert round(found[unit.label][state]) == round(expected[unit.label][state]), f"{unit.label}, {state}"
    counters = [event["args"]["%"] for event in events if event["ph"] == "C"]
    assert sum(counters) * CONFIG.lanes * 10 == pytest.approx(found["multipliers"]["busy"], rel=0.01)
    assert "jobs" in names.values()


def check_events(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Slices by track: in order, of some length, none begins before the one before has ended; their parts are whole."""
    tracks: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        assert event["ph"] in "MXC"
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    for slices in tracks.values():
        end = 0
        for event in slices:
            assert event["ts"] >= end
            assert event["dur"] > 0
            assert "args" not in event or sum(event["args"].values()) == event["dur"]
            end = event["ts"] + event["dur"]
    return tracks


def random_track(rng: np.random.Generator, runs: int) -> Track:
    lengths = rng.integers(1, 4, runs) * rng.choice([1, 50], runs)
    starts = np.cumsum(lengths) - lengths + np.cumsum(rng.integers(0, 100, runs) * (rng.random(runs) < 0.1))
    return Track(0, Unit.MULTIPLIERS, 0, starts, lengths, rng.integers(0, len(STATES), runs))


@pytest.mark.parametrize("least", [1, 8, 64])
def test_merging_keeps_every_cycle(least: int) -> None:
    track = random_track(np.random.default_rng(least), 1000)
    slices = merged_slices(track, least)
    assert (slices.counts.sum(axis=1) == slices.lengths).all()
    assert (slices.starts[1:] >= slices.starts[:-1] + slices.lengths[:-1]).all()
    for state in range(len(STATES)):
        assert slices.counts[:, state].sum() == track.lengths[track.states == state].sum()
    # Pauses between jobs stay, and no long run is merged.
    assert slices.lengths.sum() == track.lengths.sum()
    mixed = (slices.counts > 0).sum(axis=1) > 1
    assert (slices.lengths[mixed] < 2 * least).all()
    assert (least == 1) == (not mixed.any())


def test_no_more_slices_than_allowed() -> None:
    tracks = [random_track(np.random.default_rng(seed), 500) for seed in range(5)]
    assert sum(len(item.starts) for item in choose_slices(tracks, 10_000)) == 2500
    assert 100 < sum(len(item.starts) for item in choose_slices(tracks, 600)) <= 600


def write_states(path: Path, rows: list[tuple[int, dict[str, Any]]], config: ArchonConfig) -> None:
    """A recording in which the image unit does nothing."""
    cluster = next(iter(sources(config).values()))
    layout = observed(cluster, config)
    digits = -(-observed_bits(config) // 4)
    idle = {unit.label: [0] * instances(unit, config) for unit in cluster}
    lines = [f"{cycle} {layout.pack(idle | values):0{digits}x}" for cycle, values in rows]
    path.write_text("\n".join([*lines, "100 end", ""]), encoding="ascii")


def test_idle_is_starved_between_the_first_and_the_last_work_of_a_job(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, lanes=2)
    rows: list[tuple[int, dict[str, Any]]] = [
        (3, {"active": 0}),
        (10, {"active": 1}),
        (12, {"active": 1, "multipliers": [1, 0]}),
        (15, {"active": 1, "multipliers": [0, 0]}),
        (20, {"active": 1, "multipliers": [0, 2]}),
        (21, {"active": 1}),
        (30, {"active": 0}),
        (31, {"active": 1}),
        (40, {"active": 0}),
    ]
    write_states(tmp_path / "states.txt", rows, config)
    recording = read_recording(tmp_path / "states.txt", config)
    tracks = [track for track in unit_tracks(recording, [[(10, 29), (31, 39)], []], config) if track.unit == Unit.MULTIPLIERS]
    runs = [list(zip(track.starts, track.lengths, [STATES[state] for state in track.states], strict=True)) for track in tracks]
    assert runs == [
        [(10, 2, "drain"), (12, 3, "busy"), (15, 6, "starved"), (21, 9, "drain"), (31, 9, "drain")],
        [(10, 2, "drain"), (12, 8, "starved"), (20, 1, "blocked"), (21, 9, "drain"), (31, 9, "drain")],
    ]


def test_a_recording_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "states.txt").write_text("3 0\n", encoding="ascii")
    with pytest.raises(ArchonError, match="a recording ends with a line 'CYCLE end'"):
        read_recording(tmp_path / "states.txt", CONFIG)
