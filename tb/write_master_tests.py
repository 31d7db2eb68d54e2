"""Write master: every byte lands once, `busy` until memory has answered; windows and errors stop it."""

from typing import Any

import cocotb

from hw.contract.axi import BYTE_ADDRESS_BITS, WORD_BYTES, Response
from hw.contract.layout import WORD_BITS, Field, Layout
from tb.axi_bus import AxiMemory
from tb.bench import Bench
from tb.stopping import Failures, Stopper
from tb.streams import PATTERNS

WORDS = 24
"""Size of the region that is written: small, so that words are overwritten."""

WRITE = Layout("write", (Field("address", BYTE_ADDRESS_BITS + 1), Field("data", WORD_BITS), Field("strobe", WORD_BYTES)))


class Writer:
    """The design, its memory and its agents; `model` is what memory should hold."""

    def __init__(self, dut: Any, name: str, idle: str, held: str, depth: int = 2) -> None:
        self.dut = dut
        self.bench = Bench(dut, name, idle, held)
        self.memory = self.bench.follow(AxiMemory(dut, "axi", held, self.bench.random, reads=False, depth=depth))
        self.source = self.bench.source("writes", WRITE)
        self.outside, self.failed = Failures(dut, "outside"), Failures(dut, "failed")
        self.stopper = Stopper(self.bench)

    async def start(self) -> None:
        """Reset; a region anywhere, and a window around it."""
        self.first = WORD_BYTES * self.bench.random.randrange(1 << 36)
        self.memory.write_window = (self.first, self.first + WORDS * WORD_BYTES)
        self.dut.window__base.value, self.dut.window__limit.value = self.memory.write_window
        self.model = bytearray(WORDS * WORD_BYTES)
        self.memory.bytes.write(self.first, bytes(self.model))
        await self.bench.reset()

    def write(self) -> dict[str, int]:
        """Any bytes of any word, into the model, too."""
        rng = self.bench.random
        word, data, strobe = rng.randrange(WORDS), rng.randbytes(WORD_BYTES), rng.choice([0xFF, rng.getrandbits(8)])
        for byte in range(WORD_BYTES):
            if strobe >> byte & 1:
                self.model[word * WORD_BYTES + byte] = data[byte]
        return {"address": self.first + word * WORD_BYTES, "data": int.from_bytes(data, "little"), "strobe": strobe}

    async def check(self, writes: int) -> None:
        """Write; memory holds everything as soon as `busy` has fallen."""
        before = self.memory.words_written
        self.source.send(*(self.write() for _ in range(writes)))
        await self.bench.until(lambda: self.source.pending == 0, "all writes")
        await self.bench.until(lambda: not self.dut.busy.value, "the end")
        assert self.memory.bytes.read(self.first, len(self.model)) == bytes(self.model), "memory differs"
        assert self.memory.words_written == before + writes


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), held=list(PATTERNS))
async def bytes_land(dut: Any, idle: str, held: str) -> None:
    """Writes to any words, one after the other."""
    writer = Writer(dut, "writes", idle, held, depth=64 if idle == "never" else 2)
    await writer.start()
    for _ in range(3):
        await writer.check(50)
    assert not writer.outside.addresses
    assert not writer.failed.addresses


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS), response=[Response.SLVERR, Response.DECERR, Response.EXOKAY])
async def an_error_stops(dut: Any, held: str, response: Response) -> None:
    """The failed word's address is told; writes that were not taken before the stop land after it."""
    writer = Writer(dut, f"errors {response}", "never", held, 8)
    await writer.start()
    for attempt in range(4):
        writes = [writer.write() for _ in range(30)]
        bad = writer.bench.random.randrange(len(writes))
        writer.memory.write_faults = {writer.memory.words_written + bad: response}
        writer.failed.addresses.clear()
        writer.source.send(*writes)
        await writer.stopper.until(attempt + 1)
        assert writer.failed.addresses == [writes[bad]["address"]]
        await writer.bench.until(lambda: not writer.source.pending and not dut.busy.value, "all writes")
        await writer.check(20)


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS))
async def nothing_outside_is_issued(dut: Any, held: str) -> None:
    """The memory agent fails the test on any write outside; what was taken before has landed, the rest lands after the stop."""
    writer = Writer(dut, "outside", "never", held, 8)
    await writer.start()
    end = writer.first + WORDS * WORD_BYTES
    for attempt, address in enumerate([end, writer.first - WORD_BYTES, end - 1, (2 << BYTE_ADDRESS_BITS) - 1, 0]):
        before = [writer.write() for _ in range(writer.bench.random.randrange(20))]
        landed = bytes(writer.model)
        after = [writer.write() for _ in range(20)]
        writer.outside.addresses.clear()
        writer.source.send(*before, {"address": address, "data": 0, "strobe": 1}, *after)
        await writer.stopper.until(attempt + 1)
        assert writer.outside.addresses == [address]
        assert writer.memory.bytes.read(writer.first, len(landed)) == landed, "memory differs"
        await writer.bench.until(lambda: not writer.source.pending and not dut.busy.value, "all writes")
        await writer.check(20)
