"""Controller: every job to its cluster in order, barriers, the end, and clusters that do not exist."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.contract.descriptor import COMMAND, DESCRIPTOR_WORDS, JOB
from hw.contract.layout import int_to_words
from tb.bench import Bench, configuration
from tb.memory import StreamMemory
from tb.streams import PATTERNS, Scoreboard

PROGRAMS = 4
JOBS_MAX = 12
WORDS = 1 << 10
Fields = dict[str, int]


class Clusters:
    """Stand-ins that take jobs, are busy with each for a while, and leave writes behind for a while longer.

    A cluster takes no job while it is busy.
    """

    def __init__(self, bench: Bench, clusters: int) -> None:
        self._dut, self._clusters, self._random = bench.dut, clusters, random.Random(bench.random.getrandbits(64))
        self.boards: list[Scoreboard] = []
        self.busy = [0] * clusters
        self.writing = 0
        bench.dut.writes_idle.value = 1
        self.sinks = [bench.sink(f"jobs__{index}", JOB, self._take(index)) for index in range(clusters)]
        bench.dut.idle.value = (1 << clusters) - 1
        cocotb.start_soon(self._run())

    def _take(self, index: int) -> Any:
        def take(job: Fields) -> None:
            if job["barrier"]:
                assert not any(self.busy), f"cluster {index} got a job with a barrier while clusters are busy: {self.busy}"
                assert not self.writing, f"cluster {index} got a job with a barrier before all was written"
            self.boards[index].check(job)
            self.busy[index] = self._random.randint(1, 60)

        return take

    @property
    def working(self) -> bool:
        """Whether anything is not done yet."""
        return any(self.busy) or self.writing > 0

    async def _run(self) -> None:
        edge = RisingEdge(self._dut.clk)
        while True:
            await edge
            self._dut.idle.value = sum((count == 0) << index for index, count in enumerate(self.busy))
            self._dut.writes_idle.value = int(self.writing == 0)
            if any(count == 1 for count in self.busy):
                self.writing = self._random.randint(1, 30)
            else:
                self.writing = max(0, self.writing - 1)
            self.busy = [max(0, count - 1) for count in self.busy]


@cocotb.test()
@cocotb.parametrize(back_pressure=list(PATTERNS), latency=[(0, 0), (1, 40)])
async def programs_one_after_the_other(dut: Any, back_pressure: str, latency: tuple[int, int]) -> None:
    """The second program names a missing cluster: it stops there with `error`, and the next command clears that."""
    bench = Bench(dut, f"controller {latency}", back_pressure=back_pressure)
    config = configuration()
    memory = bench.serve(np.zeros(WORDS, dtype=np.uint64), latency, idle=back_pressure)
    command = bench.source("command", COMMAND)
    clusters = Clusters(bench, config.clusters)
    await bench.reset()
    assert not dut.busy.value
    for number in range(PROGRAMS):
        jobs = random_program(config.clusters, bench.random)
        missing = bench.random.randrange(len(jobs)) if number == 1 else len(jobs)
        if missing < len(jobs):
            jobs[missing]["cluster"] = config.clusters + bench.random.randrange(64 - config.clusters)
        address = bench.random.randrange(WORDS - (len(jobs) + 1) * DESCRIPTOR_WORDS)
        place_program(memory, address, jobs, missing)
        clusters.boards = [
            bench.follow(Scoreboard(f"program {number}, cluster {index}", of_cluster(jobs[:missing], index)))
            for index in range(config.clusters)
        ]
        command.send({"program_address": address})
        await bench.until(lambda: dut.busy.value, "busy")
        await bench.until(lambda: not dut.busy.value, "the end of the program")
        for board in clusters.boards:
            board.finish()
        assert not clusters.working, "busy fell while jobs or writes were under way"
        assert bool(dut.error.value) == (missing < len(jobs))
        await bench.cycles(20)
        assert not dut.busy.value


def random_program(clusters: int, rng: random.Random) -> list[Fields]:
    """Jobs with random settings; a fifth of them wait for all before."""
    jobs = []
    for _ in range(rng.randint(1, JOBS_MAX)):
        job = {item.name: rng.getrandbits(item.bits) for item in JOB.fields}
        jobs.append(job | {"end": 0, "barrier": int(rng.random() < 0.2), "cluster": rng.randrange(clusters)})
    return jobs


def of_cluster(jobs: list[Fields], cluster: int) -> list[Fields]:
    """The jobs of one cluster."""
    return [job for job in jobs if job["cluster"] == cluster]


def place_program(memory: StreamMemory, address: int, jobs: list[Fields], missing: int) -> None:
    """Write jobs and the end to memory; the words that the controller has reason to read are the known ones."""
    memory.missing[:] = True
    end: dict[str, Any] = JOB.unpack(0) | {"end": 1}
    for number, fields in enumerate([*jobs, end]):
        place = address + number * DESCRIPTOR_WORDS
        memory.words[place : place + JOB.words] = int_to_words(JOB.pack(fields), JOB.words)
        memory.missing[place : place + JOB.words] = number > missing
