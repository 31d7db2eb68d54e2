"""Agents for valid/ready/payload streams as they appear in exported Verilog: NAME__payload, NAME__valid, NAME__ready.

A payload is packed and unpacked by a contract Layout, or by Number for a plain vector. All agents sample at the rising
clock edge, where the values before the edge are seen, and drive right after it.
"""

import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tb.edges import bit, every_cycle, number

Pattern = Iterator[bool]
"""For every clock cycle: True to hold (a source stays idle, a sink is not ready), False to go on."""


class Codec(Protocol):
    """Packs a payload value into an unsigned integer and back; hw.contract.layout.Layout is one."""

    @property
    def width(self) -> int:
        """Bits of the payload."""
        ...

    def pack(self, values: Any, /) -> int:
        """The payload's bits as an unsigned number."""
        ...

    def unpack(self, row: int, /) -> Any:
        """The value of the payload's bits."""
        ...


@dataclass(frozen=True)
class Number:
    """A payload that is one number of `width` bits."""

    width: int
    signed: bool = False

    def pack(self, value: int, /) -> int:
        """Two's complement bits of `value`; ValueError where it does not fit."""
        low, high = (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1) if self.signed else (0, (1 << self.width) - 1)
        if not low <= value <= high:
            raise ValueError(f"a payload of {self.width} bits holds {low}..{high}, got {value}")
        return value & ((1 << self.width) - 1)

    def unpack(self, row: int, /) -> int:
        """The number in the payload's bits."""
        return row - (1 << self.width) if self.signed and row >> (self.width - 1) else row


def never() -> Pattern:
    """No cycle is held."""
    while True:
        yield False


def randomly(probability: float, rng: random.Random) -> Pattern:
    """Each cycle is held with this probability (below 1)."""
    while True:
        yield rng.random() < probability


def bursts(mean: int, rng: random.Random) -> Pattern:
    """Runs of held and of free cycles, 1 to 2 * mean - 1 cycles each."""
    while True:
        yield from [True] * rng.randrange(1, 2 * mean)
        yield from [False] * rng.randrange(1, 2 * mean)


PATTERNS: Mapping[str, Callable[[random.Random], Pattern]] = {
    "never": lambda _: never(),
    "rarely": lambda rng: randomly(0.2, rng),
    "mostly": lambda rng: randomly(0.8, rng),
    "bursts": lambda rng: bursts(8, rng),
}
"""Ways to hold a stream. Unit tests run every pair of one for the sources and one for the sinks; see `stalls`."""

SHARE_VARIABLE = "ARCHON_STALLS"
"""Of the environment: which share of the pairs a simulation runs, as "NUMBER/SHARES"; all of them by default."""


def pattern(name: str, rng: random.Random) -> Pattern:
    """The named pattern with its own generator of random numbers, so that agents do not influence each other."""
    return PATTERNS[name](random.Random(rng.getrandbits(64)))


def stalls() -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """What cocotb.parametrize takes for `idle` and `back_pressure`: this simulation's share of the pairs of patterns.

    The configurations of a unit share the pairs between them. With up to as many shares as there are patterns, every share has
    every pattern for the sources and every one for the sinks.
    """
    number, shares = map(int, os.environ.get(SHARE_VARIABLE, "0/1").split("/"))
    ways = list(enumerate(PATTERNS))
    pairs = [(idle, held) for row, idle in ways for column, held in ways if (row + column) % shares == number]
    return ("idle", "back_pressure"), pairs


class StreamSource:
    """Offers queued payloads to an input stream of the design, in order, and never withdraws one.

    Args:
        dut: Handle of the top module.
        name: Name of the stream, without "__payload" and so on.
        codec: Packs payloads.
        idle: Cycles in which no new payload is offered.
    """

    def __init__(self, dut: Any, name: str, codec: Codec, idle: Pattern | None = None) -> None:
        self.name, self.codec, self.idle = name, codec, idle or never()
        self._payload, self._valid, ready = signals(dut, name, codec)
        self._ready = bit(ready)
        self._queue: deque[int] = deque()
        self._offered = False
        self.sent = 0
        self._valid.value = 0
        self._payload.value = 0
        every_cycle(dut, self._step)

    def send(self, *values: Any) -> None:
        """Queue payloads; returns at once."""
        self._queue.extend(self.codec.pack(value) for value in values)

    def clear(self) -> None:
        """Forget what is queued; only while the design is in reset, since a payload on offer must not be withdrawn."""
        self._queue.clear()

    @property
    def pending(self) -> int:
        """Payloads that the design has not accepted yet."""
        return len(self._queue)

    def describe(self) -> str:
        """One phrase on how far this stream came, for time-outs."""
        return f"{self.name}: {self.sent} sent, {self.pending} pending"

    def _step(self, reset: bool) -> None:
        offered = self._offered
        if not offered and not self._queue:
            return
        if reset:
            self._valid.value, self._offered = 0, False
            return
        if offered:
            if not self._ready():
                return
            self._queue.popleft()
            self.sent += 1
        self._offered = bool(self._queue) and not next(self.idle)
        if self._offered:
            self._payload.value = self._queue[0]
        if self._offered != offered:
            self._valid.value = int(self._offered)


class StreamMonitor:
    """Collects what passes over a stream, and checks that a payload once offered stays until it is accepted.

    Args:
        dut: Handle of the top module.
        name: Name of the stream.
        codec: Unpacks payloads.
        on_item: Called with every payload as it passes, such as a Scoreboard's `check`.
        meaning: Reduces a payload to what means something in it; only that must stay, and only that is collected.
    """

    def __init__(
        self,
        dut: Any,
        name: str,
        codec: Codec,
        on_item: Callable[[Any], None] | None = None,
        meaning: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name, self.codec, self.on_item, self.meaning = name, codec, on_item, meaning
        payload, valid, self._ready = signals(dut, name, codec)
        self._payload, self._valid, self._taken = number(payload), bit(valid), bit(self._ready)
        self.items: list[Any] = []
        self._waiting: int | None = None
        every_cycle(dut, self._step)

    def describe(self) -> str:
        """One phrase on how far this stream came, for time-outs."""
        return f"{self.name}: {len(self.items)} received"

    def _step(self, reset: bool) -> None:
        if reset:
            self._waiting = None
        else:
            self._sample(self._taken())

    def _sample(self, ready: bool) -> None:
        valid = self._valid()
        if not valid and self._waiting is None:
            return
        assert valid, f"stream {self.name}: valid fell before the payload was accepted"
        payload = self._payload()
        if self._waiting not in {None, payload}:
            before, now = self._value(self._waiting or 0), self._value(payload)
            assert before == now, f"stream {self.name}: payload changed before it was accepted, from {before} to {now}"
        self._waiting = None if ready else payload
        if ready:
            item = self._value(payload)
            self.items.append(item)
            if self.on_item is not None:
                self.on_item(item)

    def _value(self, payload: int) -> Any:
        value = self.codec.unpack(payload)
        return value if self.meaning is None else self.meaning(value)


class StreamSink(StreamMonitor):
    """Accepts payloads of an output stream of the design, ready except where `back_pressure` holds it."""

    def __init__(
        self,
        dut: Any,
        name: str,
        codec: Codec,
        back_pressure: Pattern | None = None,
        on_item: Callable[[Any], None] | None = None,
        meaning: Callable[[Any], Any] | None = None,
    ) -> None:
        self.back_pressure = back_pressure or never()
        self._accepts = False
        dut[f"{name}__ready"].value = 0
        super().__init__(dut, name, codec, on_item, meaning)

    def _step(self, reset: bool) -> None:
        if reset:
            self._waiting = None
        else:
            self._sample(self._accepts)
        if next(self.back_pressure) == self._accepts:
            self._accepts = not self._accepts
            self._ready.value = int(self._accepts)


class Scoreboard:
    """Compares items with the expected ones as they come; the first difference fails the test.

    Args:
        name: What is compared.
        expected: All items, in order.
        place: Says where item number i belongs, such as "pixel 3, channel 2".
    """

    def __init__(self, name: str, expected: Iterable[Any], place: Callable[[int], str] | None = None) -> None:
        self.name, self.expected, self.place = name, list(expected), place
        self.count = 0

    @property
    def complete(self) -> bool:
        """True when all expected items have come."""
        return self.count == len(self.expected)

    def check(self, item: Any) -> None:
        """Take the next item; AssertionError names its place and the fields that differ."""
        where = f"{self.name}[{self.count}]" + (f" ({self.place(self.count)})" if self.place else "")
        assert self.count < len(self.expected), f"{where}: expected no more items, got {item}"
        found = difference(self.expected[self.count], item)
        assert not found, f"{where}: {found}"
        self.count += 1

    def finish(self) -> None:
        """AssertionError where items are missing."""
        assert self.complete, f"{self.name}: expected {len(self.expected)} items, got {self.count}"

    def describe(self) -> str:
        """One phrase on how far the comparison came, for time-outs."""
        return f"{self.name}: {self.count} of {len(self.expected)} compared"


def difference(expected: Any, got: Any) -> str:
    """What differs between two payload values, field by field; empty where nothing does.

    A struct is compared by the fields that `expected` names, so that fields without meaning can be left out.
    """
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        parts = [f"{key} {found}" for key in expected if (found := difference(expected[key], got.get(key)))]
        return ", ".join(parts)
    if isinstance(expected, Sequence) and isinstance(got, Sequence):
        if len(expected) != len(got):
            return f"expected {len(expected)} elements, got {len(got)}"
        for index, (left, right) in enumerate(zip(expected, got, strict=True)):
            if left != right:
                return f"[{index}] expected {left}, got {right}"
        return ""
    return "" if expected == got else f"expected {expected}, got {got}"


def signals(dut: Any, name: str, codec: Codec) -> tuple[Any, Any, Any]:
    """Handles of a stream's payload, valid and ready; AssertionError where the design's payload has another width."""
    payload, valid, ready = (dut[f"{name}__{part}"] for part in ("payload", "valid", "ready"))
    assert len(payload) == codec.width, f"stream {name}: {codec.width} bits expected, the design has {len(payload)}"
    return payload, valid, ready
