"""Whole programs on the accelerator with its streams in the hands of agents, and what must hold after them."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hw.contract.activity import ACTIVITY, discrepancies, sources
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import COMMAND, REPORT
from sw.program import Job, MemoryImage
from tb.bench import Bench
from tb.memory import StreamMemory
from tb.streams import StreamSink, StreamSource

CYCLE_LIMIT = 400_000


class Circumstances(Protocol):
    """How external memory and the other agents behave while a program runs; its name seeds them."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def idle(self) -> str:
        """Pattern of the read data stream."""
        ...

    @property
    def back_pressure(self) -> str:
        """Pattern of the read request, write and report streams."""
        ...

    @property
    def latency(self) -> tuple[int, int]:
        """Least and greatest latency of a read, in cycles."""
        ...


class Accelerator:
    """The design with its agents; memory is exchanged for every case."""

    def __init__(self, dut: Any, case: Circumstances, words: NDArray[np.uint64]) -> None:
        self.dut, self.words = dut, words
        dut.writes_pending.value = 0  # memory has taken a write when it is handed over
        self.bench = Bench(dut, case.name, back_pressure=case.back_pressure)
        self.command: StreamSource = self.bench.source("command", COMMAND)
        self.reports: StreamSink = self.bench.sink("report", REPORT)
        self.activity: StreamSink = self.bench.sink("activity", ACTIVITY)
        self.memory = self.bench.serve(words, case.latency, write="write", idle=case.idle)

    async def run(self, address: int, jobs: int) -> list[dict[str, int]]:
        """Run the program at a word address; the reports of its jobs."""
        self.reports.items.clear()
        self.activity.items.clear()
        self.command.send({"program_address": address})
        await self.bench.until(lambda: self.dut.busy.value, "busy", 1000)
        await self.bench.until(lambda: len(self.reports.items) == jobs, f"reports of {jobs} jobs", CYCLE_LIMIT)
        await self.bench.until(lambda: not self.dut.busy.value, "the end of the program", 1000)
        assert not self.dut.error.value, "the accelerator reports an error"
        return list(self.reports.items)


def expect_outputs(memory: StreamMemory, image: MemoryImage) -> None:
    """Every output byte is missing until it is written in this run."""
    memory.write_counts[:] = 0
    for program in image.layer_programs:
        place = image.tensors[program.name]
        memory.missing[place.address : place.address + place.words] |= place.written_bytes()


def check_tensor(where: str, expected: NDArray[np.integer], got: NDArray[np.integer]) -> None:
    """Every activation is the expected one; the first other is named."""
    wrong = np.argwhere(expected != got)
    if len(wrong):
        channel, row, column = wrong[0]
        raise AssertionError(
            f"{where}: {len(wrong)} of {expected.size} activations differ, first channel {channel}, row {row}, "
            f"column {column}: expected {expected[channel, row, column]}, got {got[channel, row, column]}"
        )


def check_writes(where: str, memory: StreamMemory, image: MemoryImage, others: int = 0) -> None:
    """Every byte of every output, and so many others that were missing, was written once, and nothing else was."""
    assert not memory.missing.any(), f"{where}: {memory.missing.sum()} output bytes were never written"
    places = [image.tensors[program.name] for program in image.layer_programs]
    size = sum(int(np.prod(place.shape if place.part_of else place.bytes_shape)) for place in places) + others
    assert memory.write_counts.sum() == size, f"{where}: {size} bytes to write, got {memory.write_counts.sum()}"


def check_numbers(where: str, reports: list[dict[str, int]], image: MemoryImage) -> None:
    """One report a job, each with a duration."""
    numbers = sorted(job.number for job in image.network_program.jobs)
    assert sorted(report["job"] for report in reports) == numbers, f"{where}: jobs {numbers} to report, got {reports}"
    assert all(report["start_cycle"] < report["end_cycle"] for report in reports), f"{where}: cycles of {reports}"


def reports_of(layer: str, reports: list[dict[str, int]], image: MemoryImage) -> list[dict[str, int]]:
    """The reports of a layer's jobs."""
    numbers = {job.number for job in jobs_of(layer, image)}
    return [report for report in reports if report["job"] in numbers]


def jobs_of(layer: str, image: MemoryImage) -> list[Job]:
    """A layer's jobs."""
    return [job for job in image.network_program.jobs if job.layer == layer]


def check_counters(where: str, expected: dict[str, int], reports: list[dict[str, int]]) -> None:
    """The counters of a layer's jobs add up to the expected ones."""
    for name, count in expected.items():
        got = sum(report[name] for report in reports)
        assert got == count, f"{where}: expected {count} {name}, got {got}"


def check_activity(
    where: str, reports: list[dict[str, int]], activity: list[dict[str, int]], image: MemoryImage, config: ArchonConfig
) -> None:
    """What the units did adds up, job by job, and the jobs of a cluster do not overlap."""
    if not config.counters:
        assert not activity, f"{where}: no counts are expected, got {activity}"
        return
    units, last = list(sources(config).values()), dict[int, int]()
    cluster = {job.number: job.fields["cluster"] for job in image.network_program.jobs}
    assert {row["job"] for row in activity} == set(cluster), f"{where}: counts of jobs {cluster} are expected, got {activity}"
    for report in reports:
        number = cluster[report["job"]]
        counts = [row for row in activity if row["job"] == report["job"]]
        found = discrepancies(report, counts, units[number], config)
        assert not found, f"{where}: {'; '.join(found)}"
        assert report["start_cycle"] > last.get(number, -1), f"{where}: cycles of {reports}"
        last[number] = report["end_cycle"]
