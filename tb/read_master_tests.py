"""Read master: words in order under pauses of every channel; windows and errors stop it, and it goes on afterwards."""

from collections.abc import Sequence
from typing import Any

import cocotb

from hw.contract.axi import BURST_WORDS_MAX, WORD_BYTES, Response
from hw.contract.descriptor import READ_REQUEST
from hw.contract.layout import WORD_BITS
from tb.axi_bus import AxiMemory
from tb.bench import Bench
from tb.stopping import Failures, Stopper
from tb.streams import PATTERNS, Number, Scoreboard

WORDS = 3 * BURST_WORDS_MAX
"""Size of the region that is read."""

Request = dict[str, int]


class Reader:
    """The design, its memory and its agents."""

    def __init__(self, dut: Any, name: str, held: str, back_pressure: str = "never", depth: int = 2) -> None:
        self.dut = dut
        self.bench = Bench(dut, name, held, back_pressure)
        self.memory = self.bench.follow(AxiMemory(dut, "axi", held, self.bench.random, writes=False, depth=depth))
        self.requests = self.bench.source("read_request", READ_REQUEST)
        self.words = self.bench.sink("read_data", Number(WORD_BITS))
        self.outside, self.failed = Failures(dut, "outside"), Failures(dut, "failed")
        self.stopper = Stopper(self.bench, self.requests)

    async def start(self) -> None:
        """Reset; then a base anywhere, random words from there on, and a window around them."""
        rng = self.bench.random
        self.base = rng.randrange(1 << 39)
        self.first = self.base // WORD_BYTES * WORD_BYTES
        self.memory.bytes.write(self.first, rng.randbytes(WORDS * WORD_BYTES))
        self.memory.read_window = (self.first, self.first + WORDS * WORD_BYTES)
        self.dut.base.value = self.base
        self.dut.window__base.value, self.dut.window__limit.value = self.memory.read_window
        await self.bench.reset()

    def request(self) -> Request:
        """Words within the region."""
        rng = self.bench.random
        length = rng.choice([1, rng.randint(1, 20), rng.randint(1, 2 * BURST_WORDS_MAX)])
        return {"address": rng.randint(0, WORDS - length), "length": length}

    def expected(self, requests: Sequence[Request]) -> list[int]:
        """The words asked for."""
        contents = self.memory.bytes.read(self.first, WORDS * WORD_BYTES)
        words = [int.from_bytes(contents[at : at + WORD_BYTES], "little") for at in range(0, len(contents), WORD_BYTES)]
        return [word for item in requests for word in words[item["address"] :][: item["length"]]]

    async def check(self, requests: list[Request]) -> None:
        """Ask, and compare every word."""
        board = self.bench.follow(Scoreboard("words", self.expected(requests)))
        self.words.items.clear()
        self.words.on_item = board.check
        self.requests.send(*requests)
        await self.bench.until(lambda: board.complete, "all words")
        await self.bench.until(lambda: not self.dut.busy.value, "the end", 5)
        self.words.on_item = None

    def check_prefix(self, requests: list[Request], words: int) -> None:
        """Of the words asked for only the first came, at most `words`."""
        got = self.words.items
        assert got == self.expected(requests)[: len(got)], "words differ"
        assert len(got) <= words, f"{len(got)} words came, at most {words} expected"


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS), back_pressure=list(PATTERNS))
async def words_come_in_order(dut: Any, held: str, back_pressure: str) -> None:
    """Requests of any length at any address."""
    reader = Reader(dut, "reads", held, back_pressure, depth=64 if back_pressure in {"never", "mostly"} else 2)
    await reader.start()
    await reader.check([reader.request() for _ in range(8)])
    await reader.check([{"address": index, "length": 1} for index in range(40)])
    await reader.check([{"address": 5, "length": 0}, {"address": 0, "length": WORDS}, {"address": 5, "length": 0}])
    assert not reader.outside.addresses
    assert not reader.failed.addresses


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS), response=[Response.SLVERR, Response.DECERR, Response.EXOKAY])
async def an_error_stops(dut: Any, held: str, response: Response) -> None:
    """The failed word and those after it are not handed over; what comes afterwards is right again."""
    reader = Reader(dut, f"errors {response}", held, depth=8)
    await reader.start()
    for attempt in range(4):
        requests = [reader.request() for _ in range(8)]
        addresses = [item["address"] + offset for item in requests for offset in range(item["length"])]
        bad = reader.bench.random.choice([0, len(addresses) - 1, reader.bench.random.randrange(len(addresses))])
        reader.memory.read_faults = {reader.memory.words_read + bad: response}
        reader.words.items.clear()
        reader.requests.send(*requests)
        await reader.stopper.until(attempt + 1)
        assert reader.failed.addresses.pop() == reader.first + WORD_BYTES * addresses[bad]
        reader.check_prefix(requests, bad)
        assert not dut.read_data__valid.value, "words are left behind"
        await reader.check([reader.request() for _ in range(3)])


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS))
async def nothing_outside_is_issued(dut: Any, held: str) -> None:
    """The memory agent fails the test on any burst outside; one burst too far stops."""
    reader = Reader(dut, "outside", held, depth=8)
    await reader.start()
    rng = reader.bench.random
    for attempt in range(6):
        requests = [reader.request() for _ in range(5)]
        address, length = rng.choice([(WORDS, 1), (WORDS - 1, 2), (WORDS - 1, 300), ((1 << 32) - 1, 1), (0, 4 * WORDS)])
        bad = {"address": address, "length": length}
        at = rng.randrange(len(requests) + 1)
        reader.words.items.clear()
        reader.outside.addresses.clear()
        reader.requests.send(*requests[:at], bad, *requests[at:])
        await reader.stopper.until(attempt + 1)
        assert len(reader.outside.addresses) == 1, reader.outside.addresses
        found = reader.outside.addresses[0] - reader.first
        assert WORD_BYTES * (WORDS - BURST_WORDS_MAX) < found <= WORD_BYTES * max(address, WORDS), f"{found:#x} for {bad}"
        reader.check_prefix([*requests[:at], bad | {"length": max(0, WORDS - address)}], 1 << 20)
        await reader.check([reader.request() for _ in range(3)])
