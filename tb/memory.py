"""External memory: serves read requests and takes writes, with settable latency, idle cycles and back-pressure."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD
from hw.contract.descriptor import READ_REQUEST, WRITE
from hw.contract.layout import WORD_BITS
from tb.edges import bit, every_cycle
from tb.streams import Number, Pattern, StreamSink, never, signals


class StreamMemory:
    """Memory behind a READ_REQUEST, a READ_DATA and a WRITE stream of the design.

    Args:
        dut: Handle of the top module.
        words: Contents, uint64; changed by writes.
        read_request, read_data, write: Names of the streams; None where the design has none.
        latency: Least and greatest cycles from a request's acceptance to its first word; answers come in order.
        seed: Seeds the latencies.
        idle: Cycles in which no read word is offered.
        request_back_pressure, write_back_pressure: Cycles in which requests and writes are not accepted.

    `missing` (words, 8) marks bytes that have to be written by the design before their word may be read: none by default.
    `write_counts` (words, 8) counts the writes of every byte. A reset drops the requests that are not answered yet.
    """

    def __init__(
        self,
        dut: Any,
        words: NDArray[np.uint64],
        *,
        read_request: str | None = "read_request",
        read_data: str | None = "read_data",
        write: str | None = None,
        latency: tuple[int, int] = (1, 20),
        seed: object = 0,
        idle: Pattern | None = None,
        request_back_pressure: Pattern | None = None,
        write_back_pressure: Pattern | None = None,
        on_read: Callable[[int, int], None] | None = None,
    ) -> None:
        self.words, self.latency, self._on_read = words, latency, on_read
        self.missing: NDArray[np.bool_] = np.zeros((len(words), CHANNELS_PER_WORD), dtype=np.bool_)
        self.write_counts = np.zeros((len(words), CHANNELS_PER_WORD), dtype=np.int64)
        self.requests = self.words_read = self.words_written = 0
        self._random = random.Random(f"memory {seed}")
        self._idle = idle or never()
        self._answers: deque[tuple[int, int]] = deque()
        self._cycle, self._offered = 0, False
        if read_request is not None and read_data is not None:
            StreamSink(dut, read_request, READ_REQUEST, request_back_pressure, self._take_request)
            self._data, self._valid, ready = signals(dut, read_data, Number(WORD_BITS))
            self._ready = bit(ready)
            self._valid.value = 0
            every_cycle(dut, self._serve)
        if write is not None:
            StreamSink(dut, write, WRITE, write_back_pressure, self._take_write)

    def describe(self) -> str:
        """One phrase on what was read and written, for time-outs."""
        return (
            f"memory: {self.requests} requests, {self.words_read} words read, {len(self._answers)} due, "
            f"{self.words_written} written"
        )

    def _take_request(self, request: dict[str, int]) -> None:
        address, length = request["address"], request["length"]
        assert length > 0, f"memory: a request of no words at address {address}"
        assert address + length <= len(self.words), (
            f"memory: words {address}..{address + length - 1} requested, there are {len(self.words)}"
        )
        missing = self.missing[address : address + length]
        if missing.any():
            word = address + int(missing.any(axis=1).argmax())
            raise AssertionError(f"memory: word {word} read ({length} words from {address}) before it was written")
        self.requests += 1
        due = self._cycle + self._random.randint(*self.latency)
        self._answers.extend((due, position) for position in range(address, address + length))
        if self._on_read is not None:
            self._on_read(address, length)

    def _take_write(self, write: dict[str, int]) -> None:
        address, strobe = write["address"], write["strobe"]
        assert address < len(self.words), f"memory: word {address} written, there are {len(self.words)}"
        assert strobe, f"memory: a write of no byte at address {address}"
        chosen = [byte for byte in range(CHANNELS_PER_WORD) if strobe >> byte & 1]
        mask = sum(0xFF << (8 * byte) for byte in chosen)
        self.words[address] = (int(self.words[address]) & ~mask) | (write["data"] & mask)
        self.write_counts[address, chosen] += 1
        self.missing[address, chosen] = False
        self.words_written += 1

    def _serve(self, reset: bool) -> None:
        self._cycle += 1
        offered, answers = self._offered, self._answers
        if not offered and not answers:
            return
        if reset:
            answers.clear()
            self._valid.value, self._offered = 0, False
            return
        if offered:
            if not self._ready():
                return
            answers.popleft()
            self.words_read += 1
        self._offered = bool(answers) and answers[0][0] <= self._cycle and not next(self._idle)
        if self._offered:
            self._data.value = int(self.words[answers[0][1]])
        if self._offered != offered:
            self._valid.value = int(self._offered)
