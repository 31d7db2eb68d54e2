"""What every unit did, cycle by cycle, as a trace that Perfetto (ui.perfetto.dev) opens.

Chrome's trace event format; a clock cycle is shown as a microsecond. Each cluster is a process with a track of its jobs, one
for each instance of a unit, and a counter of how busy its multipliers are.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.activity import STATES, Observation, Unit, instances, observed, observed_bits, sources
from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from sim.accelerator import ImageRun
from sim.report import write_whole
from sw.program import MemoryImage

MOST_SLICES = 120_000
"""Slices that are written at most, some 130 bytes each; where there are more, short ones are merged."""

COUNTER_CYCLES = 1000
"""Cycles that a value of the counter of busy multipliers is a mean over."""

JOBS_TRACK = 1
"""Number of the track of jobs; the units' tracks follow."""

Numbers = NDArray[np.int64]
_BUSY, _STARVED, _BLOCKED, _DRAIN = range(len(STATES))
_STATE_OF = {Observation.IDLE: _DRAIN, Observation.BUSY: _BUSY, Observation.BLOCKED: _BLOCKED}


@dataclass(frozen=True)
class Recording:
    """Changes of what is observed: in cycles[i] .. cycles[i + 1] - 1, bit b of all observations is bits[i, b]."""

    cycles: Numbers
    bits: NDArray[np.uint8]


@dataclass(frozen=True)
class Track:
    """Runs of equal state of one instance of a unit, in order: first cycle, length, index in STATES."""

    source: int
    unit: Unit
    instance: int
    starts: Numbers
    lengths: Numbers
    states: Numbers


@dataclass(frozen=True)
class Slices:
    """Neighbouring runs of a track in one: first cycle, length, and cycles in each of STATES, a row a slice."""

    starts: Numbers
    lengths: Numbers
    counts: Numbers


def read_recording(path: Path, config: ArchonConfig) -> Recording:
    """What tb/harness.v has written."""
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    if not lines or lines[-1][-1] != "end":
        raise ArchonError(f"a recording ends with a line 'CYCLE end', {path} ends with {lines[-1] if lines else 'nothing'}")
    width = observed_bits(config)
    rows = bytes.fromhex("".join(row.zfill(2 * -(-width // 8)) for _, row in lines[:-1]))
    packed = np.frombuffer(rows, dtype=np.uint8).reshape(len(lines) - 1, -1)
    bits = np.unpackbits(packed[:, ::-1], axis=1, count=width, bitorder="little")
    return Recording(np.array([int(cycle) for cycle, _ in lines]), bits)


def unit_tracks(recording: Recording, jobs: Sequence[Sequence[tuple[int, int]]], config: ArchonConfig) -> list[Track]:
    """Every instance of every unit.

    Args:
        recording: Of the whole simulation.
        jobs: For every source (hw.contract.activity.sources), first and last cycle of its jobs, in order.
        config: Of the accelerator.
    """
    tracks, offset = list[Track](), 0
    for source, units in enumerate(sources(config).values()):
        layout = observed(units, config)
        bits = recording.bits[:, offset : offset + layout.width]
        offset += layout.width
        for unit in units:
            first, count = layout.offsets[unit.label], instances(unit, config)
            seen = bits[:, first : first + 2 * count : 2] + 2 * bits[:, first + 1 : first + 2 * count : 2]
            tracks += _tracks(recording.cycles, seen, jobs[source], (source, unit))
    return tracks


def _tracks(
    cycles: Numbers, seen: NDArray[np.uint8], jobs: Sequence[tuple[int, int]], place: tuple[int, Unit]
) -> Iterator[Track]:
    """Tracks of a unit's instances from its observations (changes, instances)."""
    edges, states = [np.zeros(0, np.int64)], [np.zeros((0, seen.shape[1]), np.int64)]
    lengths = list(edges)
    for start, end in jobs:
        low, high = np.searchsorted(cycles, start, "right") - 1, np.searchsorted(cycles, end, "right")
        limits = np.clip(cycles[low : high + 1], start, end + 1)
        part = seen[low:high]
        found = np.array([_STATE_OF[Observation(value)] for value in Observation])[part]
        working = np.flatnonzero(part.any(axis=1))
        if len(working):
            inner = found[working[0] : working[-1] + 1]
            inner[inner == _DRAIN] = _STARVED
        edges.append(limits[:-1])
        lengths.append(np.diff(limits))
        states.append(found)
    starts, length, state = np.concatenate(edges), np.concatenate(lengths), np.concatenate(states)
    for instance in range(seen.shape[1]):
        column = state[:, instance]
        # A run ends where the state changes, and where cycles are between two jobs.
        new = np.ones(len(column), dtype=bool)
        new[1:] = (column[1:] != column[:-1]) | (starts[1:] != starts[:-1] + length[:-1])
        first = np.flatnonzero(new)
        merged = np.add.reduceat(length, first) if len(first) else length
        yield Track(*place, instance, starts[first], merged, column[first])


def merged_slices(track: Track, least: int) -> Slices:
    """Runs of `least` cycles or more as they are; shorter ones merged with shorter neighbours, up to twice `least` cycles."""
    ends, long = track.starts + track.lengths, track.lengths >= least
    new = np.ones(len(ends), dtype=bool)
    new[1:] = long[1:] | long[:-1] | (track.starts[1:] // least != track.starts[:-1] // least) | (track.starts[1:] != ends[:-1])
    first = np.flatnonzero(new)
    counts = np.zeros((len(ends), len(STATES)), dtype=np.int64)
    counts[np.arange(len(ends)), track.states] = track.lengths
    summed = np.add.reduceat(counts, first, axis=0) if len(first) else counts
    return Slices(track.starts[first], summed.sum(axis=1), summed)


def choose_slices(tracks: Sequence[Track], most: int = MOST_SLICES) -> list[Slices]:
    """Slices of all tracks, merged as little as `most` of them allow."""
    least = 1
    while True:
        slices = [merged_slices(track, least) for track in tracks]
        if sum(len(item.starts) for item in slices) <= most:
            return slices
        least *= 2


def write_trace(path: Path, recording: Path, runs: Sequence[ImageRun], image: MemoryImage, config: ArchonConfig) -> None:
    """Write trace.json from the recording of a simulation of some images.

    Raises:
        ArchonError: the recording is broken, or does not say the same as the counters.
    """
    layer_of = {job.number: job for job in image.network_program.jobs}
    rows: list[list[tuple[int, int, str]]] = [[] for _ in sources(config)]
    for run in runs:
        for report in run.reports:
            job = layer_of[report["job"]]
            rows[job.fields["cluster"]].append((report["start_cycle"], report["end_cycle"], f"{job.layer}, job {job.number}"))
    jobs = [sorted(of_source) for of_source in rows]
    tracks = unit_tracks(read_recording(recording, config), [[job[:2] for job in of_source] for of_source in jobs], config)
    _compare(tracks, runs, layer_of, config)
    events = [*_names(config), *_job_events(jobs), *_unit_events(tracks, config), *_counter_events(tracks, config)]
    text = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    facts = json.dumps({"unit of time": "1 us is 1 clock cycle"})
    write_whole(
        path, lambda beside: beside.write_text(f'{{"otherData":{facts},"traceEvents":[\n{text}\n]}}\n', encoding="utf-8")
    )


def _compare(tracks: Sequence[Track], runs: Sequence[ImageRun], jobs: dict[int, Any], config: ArchonConfig) -> None:
    """The tracks of every unit must add up to its counters."""
    nothing = np.zeros(len(STATES), np.int64)
    counted: dict[tuple[int, int], Numbers] = {}
    for row in (row for run in runs for row in run.activity):
        key = jobs[row["job"]].fields["cluster"], row["unit"]
        counted[key] = counted.get(key, nothing) + np.array([row[state] for state in STATES])
    for source, (name, units) in enumerate(sources(config).items()):
        for unit in units:
            found = nothing.copy()
            for track in tracks:
                if (track.source, track.unit) == (source, unit):
                    found += [int(track.lengths[track.states == state].sum()) for state in range(len(STATES))]
            expected = counted.get((source, unit), nothing)
            if (found != expected).any():
                raise ArchonError(f"trace of {name}, {unit.label}: {list(STATES)} count {expected}, the trace has {found}")


def _names(config: ArchonConfig) -> Iterator[dict[str, Any]]:
    for process, (name, units) in enumerate(sources(config).items(), start=1):
        yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
        tracks = ["jobs"]
        for unit in units:
            count = instances(unit, config)
            tracks += [unit.label if count == 1 else f"{unit.label} {lane}" for lane in range(count)]
        for thread, track in enumerate(tracks, start=JOBS_TRACK):
            yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": track}}
            yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _job_events(jobs: Sequence[Sequence[tuple[int, int, str]]]) -> Iterator[dict[str, Any]]:
    for process, of_source in enumerate(jobs, start=1):
        for start, end, name in of_source:
            yield {"ph": "X", "pid": process, "tid": JOBS_TRACK, "ts": start, "dur": end - start + 1, "name": name}


def _unit_events(tracks: Sequence[Track], config: ArchonConfig) -> Iterator[dict[str, Any]]:
    threads = dict.fromkeys(range(len(sources(config))), JOBS_TRACK)
    for track, slices in zip(tracks, choose_slices(tracks), strict=True):
        threads[track.source] += 1
        where = {"ph": "X", "pid": track.source + 1, "tid": threads[track.source]}
        rows = zip(slices.starts.tolist(), slices.lengths.tolist(), slices.counts.tolist(), strict=True)
        for start, length, counts in rows:
            state = STATES[counts.index(max(counts))]
            event = {**where, "ts": start, "dur": length, "name": state}
            if max(counts) < length:
                present = {name: count for name, count in zip(STATES, counts, strict=True) if count}
                event |= {"name": f"mostly {state}", "args": present}
            yield event


def _counter_events(tracks: Sequence[Track], config: ArchonConfig) -> Iterator[dict[str, Any]]:
    """How busy the multipliers of each cluster are, in percent of all its cycles."""
    for source in range(config.clusters):
        own = [track for track in tracks if (track.source, track.unit) == (source, Unit.MULTIPLIERS) and len(track.starts)]
        if not own:
            continue
        end = max(int(track.starts[-1] + track.lengths[-1]) for track in own)
        edges = np.arange(0, end + COUNTER_CYCLES, COUNTER_CYCLES)
        busy = np.zeros(len(edges))
        for track in own:
            chosen = track.states == _BUSY
            places = np.repeat(track.starts[chosen], 2)
            places[1::2] += track.lengths[chosen]
            steps = np.repeat(np.cumsum(track.lengths[chosen]), 2)
            steps[0::2] -= track.lengths[chosen]
            busy += np.interp(edges, places, steps) if len(places) else 0
        for start, cycles in zip(edges[:-1].tolist(), np.diff(busy).tolist(), strict=True):
            share = round(100 * cycles / (COUNTER_CYCLES * len(own)), 2)
            yield {"ph": "C", "pid": source + 1, "ts": start, "name": "multipliers busy, %", "args": {"%": share}}
