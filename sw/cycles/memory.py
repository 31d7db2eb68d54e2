"""External memory: one port for all, one word a cycle, requests answered in order; and what asks it ahead."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

REQUEST_CYCLES = 8
"""From a unit's request to its first word, besides memory's latency and what it waits for other requests."""


class Events:
    """Things that happen, in the order of their times."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, happens: Callable[[float], None]) -> None:
        """`happens` is called with its time, after all that is before it."""
        heapq.heappush(self._heap, (time, next(self._numbers), happens))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._heap:
            time, _, happens = heapq.heappop(self._heap)
            happens(time)


class Asker:
    """Who may have so many requests unanswered."""

    def __init__(self, outstanding: int) -> None:
        self._outstanding = outstanding
        self._ends: deque[float] = deque()

    def asks(self, end: float) -> None:
        """A request is made that is answered at `end`, after those before."""
        self._ends.append(end)

    def free(self, now: float) -> float:
        """The earliest time, from `now` on, at which a request may be made."""
        while self._ends and self._ends[0] < now:
            self._ends.popleft()
        return now if len(self._ends) < self._outstanding else self._ends[-self._outstanding] + 1


class Port(Asker):
    """The read port.

    Args:
        latency: Of memory, in cycles.
        outstanding: Requests that may be unanswered.

    Members: `background` is the share of its cycles that residuals take.
    """

    def __init__(self, latency: int, outstanding: int) -> None:
        super().__init__(outstanding)
        self._latency, self._free, self.background = latency, 0.0, 0.0

    def ask(self, now: float, words: int, cycles: float = 1) -> tuple[float, float]:
        """Ask for `words` words, each of which its client takes `cycles` for: when the first comes, when the last was taken."""
        first = max(now + REQUEST_CYCLES + self._latency, self._free)
        self._free = first + words * cycles / (1 - min(self.background, 0.9))
        self.asks(self._free)
        return first, self._free


class Client(Asker):
    """A cluster, or the image unit, at the port.

    Args:
        port: Of memory.
        outstanding: Requests that may be unanswered.
    """

    def __init__(self, port: Port, outstanding: int) -> None:
        super().__init__(outstanding)
        self._port = port

    def ask(self, now: float, words: int, cycles: float = 1) -> tuple[float, float]:
        """As Port.ask."""
        first, end = self._port.ask(now, words, cycles)
        self.asks(end)
        return first, end

    def free(self, now: float) -> float:
        """The earliest time at which it may ask, for itself and for the port."""
        return max(super().free(now), self._port.free(now))


class Prefetch:
    """A run of words from a queue that is filled ahead (hw/rtl/prefetch.py).

    Args:
        events: That happen.
        client: That asks.
        pace: (words,), cycles for which the reader has each word.
        depth: Of the queue, a quarter of which is asked for at a time.
        done: Called when the last word has been read.
        later: Given a time, until when others of the client come first.
    """

    def __init__(
        self,
        events: Events,
        client: Client,
        pace: Times,
        depth: int,
        done: Callable[[float], None],
        later: Callable[[float], float] = lambda now: now,
    ) -> None:
        self._events, self._client, self._pace, self._done, self._later = events, client, pace, done, later
        self._depth, self._burst = depth, max(1, depth // 4)
        self.read = np.zeros(len(pace))
        self._asked, self._before = 0, 0.0

    def start(self, now: float) -> None:
        """Ask for the first words."""
        self._before = now
        self._events.at(now, self._ask)

    def _ask(self, now: float) -> None:
        allowed = max(self._later(now), self._client.free(now))
        if allowed > now:
            self._events.at(allowed, self._ask)
            return
        first = self._asked
        behind = min(first + self._burst, len(self._pace))
        arrives, ends = self._client.ask(now, behind - first)
        pace = self._pace[first:behind]
        spent = np.cumsum(pace)
        spread = np.linspace(arrives, ends, len(pace), endpoint=False)
        self.read[first:behind] = spent + np.maximum(np.maximum.accumulate(spread - (spent - pace)), self._before)
        self._before, self._asked = float(self.read[behind - 1]), behind
        if behind == len(self._pace):
            self._events.at(max(now, self._before), self._done)
            return
        # The queue has room for the next burst when all but its depth were read of what is asked for by then.
        room = behind + self._burst - self._depth
        self._events.at(max(now + 1, self.read[room - 1] + 1 if room > 0 else 0.0), self._ask)


class RowLoad:
    """Activations of a job, a row of a plane a request (hw/rtl/activation_loader.py).

    Args:
        events: That happen.
        client: That asks.
        rows: Of the job's input.
        planes: Of the job's input.
        width: Words of a row of a plane.
        word_cycles: That the loader takes for a word.
        ahead: Words asked for at which no further row is asked for; None: there is no such limit.
        done: Called when the last row has come, with the time and those of all rows.

    Members: `first_until`: until then others of the client have to wait; it wants to ask first.
    """

    def __init__(
        self,
        events: Events,
        client: Client,
        rows: int,
        planes: int,
        width: int,
        word_cycles: int,
        ahead: int | None,
        done: Callable[[float, list[float]], None],
    ) -> None:
        self._events, self._client, self._done = events, client, done
        self._requests, self._planes, self._width, self._word_cycles = rows * planes, planes, width, word_cycles
        self._ahead = self._requests if ahead is None else -(-ahead // width)
        self._ends: list[float] = []
        self.first_until = 0.0

    def start(self, now: float) -> None:
        """Ask for the first row."""
        self._events.at(now, self._ask)

    def _ask(self, now: float) -> None:
        allowed = self._client.free(now)
        self.first_until = 0.0
        if allowed > now:
            self.first_until = allowed
            self._events.at(allowed, self._ask)
            return
        self._ends.append(self._client.ask(now, self._width, self._word_cycles)[1])
        number = len(self._ends)
        if number == self._requests:
            self._events.at(self._ends[-1], lambda time: self._done(time, self._ends[self._planes - 1 :: self._planes]))
            return
        waits = self._ends[number - self._ahead] if number >= self._ahead else 0.0
        self._events.at(max(now + 2, waits), self._ask)
