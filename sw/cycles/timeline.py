"""When jobs begin and end: the controller hands them out, tables are loaded ahead, barriers hold them back.

What the hardware does in which order is written here once, what it costs in the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.descriptor import JOB
from sw.cycles.memory import Client, Events, Port, Prefetch, RowLoad
from sw.program.jobs import Job

DESCRIPTOR_CYCLES = 22
"""Of the controller for a descriptor besides the memory's: it is checked."""

TABLE_CYCLES = 4
"""From a job's being taken to the first request for its tables, and from their last word to their being done."""

START_CYCLES = 4
"""From the moment from which a job may begin to its first request."""

REPORT_CYCLES = 4
"""From a job's end to the next one's beginning on its cluster."""

RELEASE_CYCLES = 8
"""From the end of a barrier's last job to the beginning of those that it held."""


@dataclass
class JobWork:
    """What a job does, as far as it can be known before it runs.

    Args:
        job: Its descriptor.
        table_pace: (words,), cycles for which the loader has each word of its tables.
        end: Given the cycles, from its start, in which its input rows are loaded, the cycle in which it ends; for the image
            unit's job, in which the words of the image were read.
        pace: Of the image unit's job, (words,), cycles for which the loader has each word of its image.
        words_beside: Words of residuals that it reads while it computes.
    """

    job: Job
    table_pace: NDArray[np.int64]
    end: Callable[[NDArray[np.float64]], float]
    pace: NDArray[np.int64] | None = None
    words_beside: int = 0


@dataclass
class JobTimes:
    """When a job's tables were there, when its cluster had nothing else to do any more, and when it ended."""

    tables: float = 0.0
    begin: float = 0.0
    end: float = 0.0


@dataclass
class _Unit:
    """A cluster, or the image unit. Tables of the job that waits are `late` for a barrier, or wait for room."""

    client: Client
    waiting: int | None = None
    held: bool = False
    late: bool = False
    waits: bool = False
    tables_done: bool = False
    running: int | None = None
    free: float = 0.0
    loading: RowLoad | None = None
    blocked: list[Callable[[float], None]] = field(default_factory=list)


class Timeline:
    """Runs a program.

    Args:
        works: Of its jobs, in their order.
        config: Of the accelerator.
        latency: Of memory, in cycles.

    Members: `times` of every job, in cycles since the command.
    """

    def __init__(self, works: Sequence[JobWork], config: ArchonConfig, latency: int) -> None:
        self._works, self._config = works, config
        self._events, self._port = Events(), Port(latency, config.clusters * config.queues.residual)
        self._units = [_Unit(Client(self._port, config.queues.residual)) for _ in range(config.clusters + 1)]
        self._hold, self._barrier_waits = False, False
        self.times = [JobTimes() for _ in works]
        self._offered = 0
        self._events.at(0, self._fetch)
        self._events.run()

    def _unit(self, job: int) -> _Unit:
        return self._units[self._works[job].job.fields["cluster"]]

    def _fetch(self, now: float) -> None:
        """The controller reads the next descriptor."""
        if self._offered < len(self._works):
            _, read = self._port.ask(now, JOB.words)
            self._events.at(read + DESCRIPTOR_CYCLES, self._offer)

    def _offer(self, now: float) -> None:
        """A job waits for the barrier before it, then for its cluster."""
        job = self._works[self._offered].job
        if job.fields["barrier"] and self._hold:
            self._barrier_waits = True
            return
        self._hold |= bool(job.fields["barrier"])
        unit = self._unit(self._offered)
        if unit.waiting is None:
            self._take(now)
        else:
            unit.blocked.append(self._take)
        self._release(now)

    def _take(self, now: float) -> None:
        """A cluster takes a job and asks for its tables."""
        number, unit = self._offered, self._unit(self._offered)
        self._offered += 1
        unit.waiting, unit.held, unit.tables_done = number, self._hold, False
        unit.late = unit.held and bool(self._works[number].job.fields["late_tables"])
        self.times[number].begin = now
        unit.waits = self._config.table_halves == 1 and unit.running is not None
        if not unit.late and not unit.waits:
            self._load_tables(now, number, unit)
        self._events.at(now + 1, self._fetch)

    def _load_tables(self, now: float, number: int, unit: _Unit) -> None:
        depth = self._config.queues.table if self._works[number].pace is None else self._config.queues.image

        def done(time: float) -> None:
            unit.tables_done, self.times[number].tables = True, time
            self._begin(time, unit)

        def later(time: float) -> float:
            return max(time, unit.loading.first_until + 1) if unit.loading else time

        Prefetch(self._events, unit.client, self._works[number].table_pace, depth, done, later).start(now + TABLE_CYCLES)

    def _begin(self, now: float, unit: _Unit) -> None:
        """The job that waits begins, if it may."""
        if unit.waiting is None or unit.running is not None or not unit.tables_done or (self._hold and unit.held):
            return
        if now < unit.free:
            self._events.at(unit.free, lambda time: self._begin(time, unit))
            return
        number, unit.running, unit.waiting = unit.waiting, unit.waiting, None
        self.times[number].begin = max(self.times[number].begin, unit.free)
        self._load_input(now, number, unit)
        if unit.blocked:
            self._events.at(now + 1, unit.blocked.pop())

    def _load_input(self, now: float, number: int, unit: _Unit) -> None:
        work, config = self._works[number], self._config
        fields = work.job.fields

        def computes(time: float, rows: Sequence[float] | NDArray[np.float64]) -> None:
            unit.loading = None
            end = max(time, now + work.end(np.array(rows) - now))
            taken = work.words_beside / max(1.0, end - time)
            self._port.background += taken
            self._events.at(end, lambda ended: self._end(ended, number, unit, taken))

        first = now + START_CYCLES
        if work.pace is not None:
            words = Prefetch(self._events, unit.client, work.pace, config.queues.image, lambda time: computes(time, words.read))
            words.start(first)
        elif fields["same_input"]:
            self._events.at(first, lambda time: computes(time, [time]))
        else:
            unit.loading = RowLoad(
                self._events, unit.client, fields["input_rows"], fields["planes"], fields["input_width"],
                CHANNELS_PER_WORD // config.lanes,
                config.activation_words_ahead if fields["residual"] else None, computes,
            )  # fmt: skip
            unit.loading.start(first)

    def _end(self, now: float, number: int, unit: _Unit, taken: float) -> None:
        """A job's last output has been written."""
        self._port.background = max(0.0, self._port.background - taken)
        self.times[number].end = now
        unit.running, unit.free = None, now + REPORT_CYCLES
        if unit.waits and unit.waiting is not None and not unit.late:
            self._load_tables(unit.free, unit.waiting, unit)
        unit.waits = False
        self._release(now)
        self._begin(now, unit)

    def _release(self, now: float) -> None:
        """A barrier falls when nothing is left to do that is not held."""
        busy = any(unit.running is not None or (unit.waiting is not None and not unit.held) for unit in self._units)
        if not self._hold or busy:
            return
        self._hold = False
        for unit in self._units:
            unit.held, unit.free = False, max(unit.free, now + RELEASE_CYCLES)
            if unit.late and unit.waiting is not None:
                self._load_tables(now + RELEASE_CYCLES, unit.waiting, unit)
            unit.late = False
            self._begin(now, unit)
        if self._barrier_waits:
            self._barrier_waits = False
            self._events.at(now + 2, self._offer)
