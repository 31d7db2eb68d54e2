"""Controller: every job to its cluster or the image unit in order, barriers, the end, and descriptors that break a rule."""

import itertools
import random
from collections import Counter, deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from hw.contract.config import ArchonConfig
from hw.contract.descriptor import COMMAND, DESCRIPTOR_WORDS, JOB
from hw.contract.layout import int_to_words
from hw.contract.rules import broken_rules
from tb.bench import Bench, configuration
from tb.descriptors import Fields, flipped, random_job
from tb.memory import StreamMemory
from tb.streams import PATTERNS, Scoreboard

PROGRAMS = 4
JOBS_MAX = 12
WORDS = 1 << 10
CLUSTER_BITS = next(item.bits for item in JOB.fields if item.name == "cluster")


class Clusters:
    """Stand-ins that take jobs ahead, run them in order for a while each, and leave writes behind for a while longer.

    The image unit has one too. A job that was taken while `hold` was high starts when it has fallen. No job ends before all
    jobs between the next barrier and the one after it were taken: the controller must not wait with them.
    """

    def __init__(self, bench: Bench, clusters: int) -> None:
        self._dut, self._random = bench.dut, random.Random(bench.random.getrandbits(64))
        self.boards: list[Scoreboard] = []
        self._taken: list[deque[tuple[int, bool]]] = [deque() for _ in range(clusters)]
        """Barriers before a job, the one with it included; whether it was held."""
        self._running: list[tuple[int, int] | None] = [None] * clusters
        """Barriers before the job, and cycles that it takes."""
        self._writing = 0
        bench.dut.writes_idle.value = 1
        self.sinks = [bench.sink(f"jobs__{index}", JOB, self._take(index)) for index in range(clusters)]
        bench.dut.idle.value = (1 << clusters) - 1
        cocotb.start_soon(self._run())

    def begin(self, jobs: list[Fields]) -> None:
        """Expect the jobs of a program."""
        barriers = list(itertools.accumulate(job["barrier"] for job in jobs))
        self._to_come = [deque(count for count, job in zip(barriers, jobs, strict=True) if job["cluster"] == index)
                         for index in range(len(self._taken))]  # fmt: skip
        self._not_taken, self._not_done = Counter(barriers), Counter(barriers)
        self._started: set[int] = set()

    def _take(self, index: int) -> Any:
        def take(job: Fields) -> None:
            self.boards[index].check(job)
            barriers = self._to_come[index].popleft()
            self._not_taken[barriers] -= 1
            self._taken[index].append((barriers, bool(self._dut.hold.value)))

        return take

    @property
    def working(self) -> bool:
        """Whether anything is not done yet."""
        return any(self._running) or any(self._taken) or self._writing > 0

    async def _run(self) -> None:
        edge = RisingEdge(self._dut.clk)
        while True:
            await edge
            await Timer(1, "ns")  # `idle` answers to `hold` in the same cycle
            hold = bool(self._dut.hold.value)
            for index, taken in enumerate(self._taken):
                taken_now = [(barriers, held and hold) for barriers, held in taken]
                taken.clear()
                taken.extend(taken_now)
                self._step(index, taken)
            blocked = [
                self._running[index] is None and all(held for _, held in taken) for index, taken in enumerate(self._taken)
            ]
            self._dut.idle.value = sum(idle << index for index, idle in enumerate(blocked))
            self._dut.writes_idle.value = int(self._writing == 0)
            self._writing = max(0, self._writing - 1)

    def _step(self, index: int, taken: "deque[tuple[int, bool]]") -> None:
        running = self._running[index]
        if running is None and taken and not taken[0][1]:
            barriers, _ = taken.popleft()
            open_jobs = [count for count in self._not_done if count < barriers and self._not_done[count]]
            assert self._writing == 0 or barriers in self._started, f"cluster {index} starts a job before all was written"
            self._started.add(barriers)
            assert not open_jobs, (
                f"cluster {index} starts a job behind {barriers} barriers, jobs behind {open_jobs} are not done"
            )
            self._running[index] = barriers, self._random.randint(1, 60)
        elif running is not None and running[1] > 1:
            self._running[index] = running[0], running[1] - 1
        elif running is not None and not self._not_taken[running[0] + 1]:
            self._running[index] = None
            self._not_done[running[0]] -= 1
            self._writing = self._random.randint(1, 30)


@cocotb.test()
@cocotb.parametrize(back_pressure=list(PATTERNS), latency=[(0, 0), (1, 40)])
async def programs_one_after_the_other(dut: Any, back_pressure: str, latency: tuple[int, int]) -> None:
    """The second program names a missing cluster, the third breaks a rule: there it stops with `error`, until a command."""
    bench = Bench(dut, f"controller {latency}", back_pressure=back_pressure)
    config = configuration()
    memory = bench.serve(np.zeros(WORDS, dtype=np.uint64), latency, idle=back_pressure)
    command = bench.source("command", COMMAND)
    units = config.image_unit + 1
    clusters = Clusters(bench, units)
    await bench.reset()
    assert not dut.busy.value
    for number in range(PROGRAMS):
        jobs = random_program(config, bench.random)
        missing = bench.random.randrange(len(jobs)) if number in (1, 2) else len(jobs)
        if number == 1:
            jobs[missing]["cluster"] = bench.random.randrange(units, 1 << CLUSTER_BITS)
        while number == 2 and not broken_rules(jobs[missing], config):
            jobs[missing] = flipped(jobs[missing], bench.random, 1)
        address = bench.random.randrange(WORDS - (len(jobs) + 1) * DESCRIPTOR_WORDS)
        place_program(memory, address, jobs, missing)
        clusters.boards = [
            bench.follow(Scoreboard(f"program {number}, cluster {index}", of_cluster(jobs[:missing], index)))
            for index in range(units)
        ]
        clusters.begin(jobs[:missing])
        command.send({"program_address": address})
        await bench.until(lambda: dut.busy.value, "busy")
        await bench.until(lambda: not dut.busy.value, "the end of the program")
        for board in clusters.boards:
            board.finish()
        assert not clusters.working, "busy fell while jobs or writes were under way"
        assert bool(dut.error.value) == (missing < len(jobs))
        assert int(dut.index.value) == missing
        await bench.cycles(20)
        assert not dut.busy.value


def random_program(config: ArchonConfig, rng: random.Random) -> list[Fields]:
    """Jobs with random settings that keep the rules; a fifth of them wait for all before."""
    jobs = [random_job(config, rng, rng.randrange(config.image_unit + 1)) for _ in range(rng.randint(1, JOBS_MAX))]
    return [job | {"barrier": int(rng.random() < 0.2)} for job in jobs]


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
