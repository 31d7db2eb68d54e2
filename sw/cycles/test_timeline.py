"""The timeline of jobs and the memory port: order, barriers, prefetched tables, no word twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB
from sw.cycles.image import byte_pace, windows_end
from sw.cycles.memory import Client, Events, Port, Prefetch, RowLoad
from sw.cycles.timeline import JobWork, Timeline
from sw.program.jobs import Job
from sw.program.raw_image import ImageLayer

LATENCY = 50


def job(number: int, cluster: int, *, barrier: bool = False, rows: int = 4, residual: bool = False) -> Job:
    fields = dict.fromkeys((item.name for item in JOB.fields), 0)
    fields |= {"job": number, "cluster": cluster, "barrier": int(barrier), "input_rows": rows, "planes": 2}
    return Job("layer", 0, 0, fields | {"input_width": 5, "half": number % 2, "residual": int(residual)})


@given(st.integers(1, 200), st.integers(1, 70), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_words_asked_ahead_come_no_faster_than_anything_allows(words: int, depth: int, pace: int) -> None:
    events = Events()
    finished: list[float] = []
    prefetch = Prefetch(
        events, Client(Port(LATENCY, 64), 64), np.full(words, pace, dtype=np.int64), max(2, depth), finished.append
    )
    prefetch.start(0)
    events.run()
    assert len(finished) == 1
    assert (np.diff(prefetch.read) >= pace).all()
    # No more than the queue holds in each latency.
    assert finished[0] >= max(LATENCY + words * pace, (LATENCY + 1) * words / max(2, depth))
    if max(2, depth) >= 64:
        assert finished[0] <= words * pace + 2 * LATENCY


@pytest.mark.parametrize("ahead", [None, 5, 40])
def test_rows_come_in_order(ahead: int | None) -> None:
    events = Events()
    found: list[tuple[float, list[float]]] = []
    RowLoad(events, Client(Port(LATENCY, 64), 64), 6, 3, 5, 2, ahead, lambda time, ends: found.append((time, ends))).start(0)
    events.run()
    ((time, ends),) = found
    assert len(ends) == 6
    assert ends[-1] == time
    assert (np.diff(ends) >= 3 * 5 * 2).all()
    if ahead == 5:  # a row of a plane at a time
        assert time >= 18 * LATENCY


def run(works: list[JobWork], clusters: int, halves: int = 2) -> list[tuple[float, float, float]]:
    config = ArchonConfig(clusters=clusters, table_halves=halves)
    return [(item.tables, item.begin, item.end) for item in Timeline(works, config, LATENCY).times]


def work(number: int, cluster: int, cycles: float, tables: int = 20, *, barrier: bool = False, rows: int = 4) -> JobWork:
    return JobWork(job(number, cluster, barrier=barrier, rows=rows), np.ones(tables, dtype=np.int64), lambda _: cycles)


def test_tables_are_loaded_while_the_job_before_runs() -> None:
    first, second = run([work(0, 0, 2000, barrier=True), work(1, 0, 1000)], 1)
    assert first[0] <= first[2]
    assert second[0] < first[2] < second[1] <= first[2] + 20
    assert 1000 <= second[2] - second[1] <= 1020


def test_tables_wait_for_the_job_before_where_there_is_no_second_half() -> None:
    first, second = run([work(0, 0, 2000, barrier=True), work(1, 0, 1000)], 1, halves=1)
    assert first[2] + LATENCY + 20 <= second[0] <= first[2] + LATENCY + 60
    assert second[0] + 1000 <= second[2] <= second[0] + 1100


def test_tables_that_a_barrier_holds_back_are_loaded_behind_it() -> None:
    late = work(1, 0, 1000, barrier=True)
    late.job.fields["late_tables"] = 1
    early = run([work(0, 0, 2000, barrier=True), work(1, 0, 1000, barrier=True)], 1)
    first, second = run([work(0, 0, 2000, barrier=True), late], 1)
    assert early[1][0] < early[0][2]
    assert first[2] + LATENCY + 20 <= second[0] <= first[2] + LATENCY + 60
    assert second[0] + 1000 <= second[2] <= second[0] + 1100


def test_long_tables_hold_a_job_back() -> None:
    first, second = run([work(0, 0, 500, barrier=True), work(1, 0, 1000, tables=5000)], 1)
    assert second[0] > first[2] + 4000
    assert second[2] >= second[0] + 1000


def test_a_barrier_waits_for_all_clusters() -> None:
    works = [work(0, 0, 500, barrier=True), work(1, 1, 3000), work(2, 0, 100, barrier=True), work(3, 1, 100)]
    times = run(works, 2)
    assert times[2][0] < times[1][2]  # its tables are there before
    assert min(times[2][1], times[3][1]) >= times[1][2] > times[0][2] + 2000
    # A further barrier waits for the one before.
    works += [work(4, 0, 100, barrier=True)]
    assert run(works, 2)[4][1] >= max(end for _, _, end in run(works, 2)[:4])


def test_clusters_share_the_port() -> None:
    alone = run([work(0, 0, 0, barrier=True, rows=40)], 1)[0]
    both = run([work(0, 0, 0, barrier=True, rows=40), work(1, 1, 0, rows=40)], 2)
    assert alone[2] - alone[1] >= 40 * 2 * 5
    assert max(end for _, _, end in both) - both[0][1] >= 2 * 40 * 2 * 5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("latency", [1, 100])
def test_an_image_takes_what_reading_and_writing_take(stride: int, latency: int) -> None:
    layer = ImageLayer("image", (3, 12, 10), np.zeros(256, dtype=np.int8), stride)
    (of_image,) = layer.plan(ArchonConfig()).jobs
    pace = byte_pace(of_image)
    assert pace.sum() == 3 * 12 * 10
    end = windows_end(of_image, latency + np.cumsum(pace).astype(np.float64))
    outputs = of_image.fields["output_rows"] * of_image.fields["output_width"]
    least = max(int(pace.sum()), outputs * of_image.fields["planes"]) + latency
    assert least <= end <= latency + pace.sum() + outputs * of_image.fields["planes"] + 100
