"""External memory: words come back in order and unchanged, writes by byte, files in and out, at any speed."""

import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from hw.contract.descriptor import READ_REQUEST, WRITE
from hw.contract.layout import WORD_BITS
from sw.program.image import read_hex, write_hex
from tb.bench import Bench
from tb.harness import MemoryControl
from tb.streams import Number, Scoreboard, StreamSink, stalls

WORDS = 1 << 10
"""Size of the memory under test."""


PAUSES = [(0, 0), (100, 0), (0, 100), (100, 100)]
"""Of requests and writes, and of words."""


def contents(rng: random.Random, count: int) -> Any:
    """Random words."""
    return np.array([rng.getrandbits(WORD_BITS) for _ in range(count)], dtype=np.uint64)


@cocotb.test()
@cocotb.parametrize(stalls(), latency=[0, 1, 37], pauses=PAUSES)
async def reads_see_all_writes_before(dut: Any, idle: str, back_pressure: str, latency: int, pauses: tuple[int, int]) -> None:
    """Rounds of writes, then reads; more requests than the memory queues."""
    bench = Bench(dut, f"memory {latency} {pauses}", idle, back_pressure)
    memory = bench_memory(bench, latency, *pauses)
    requests, writes = bench.source("read_request", READ_REQUEST), bench.source("write", WRITE)
    words = bench.sink("read_data", Number(WORD_BITS))
    await bench.reset()
    rng = bench.random
    model = contents(rng, WORDS)
    image = Path("image.hex").resolve()
    write_hex(image, model)
    await memory.load(image)
    for _ in range(3):
        for _ in range(30):
            address, data, strobe = rng.randrange(WORDS), rng.getrandbits(WORD_BITS), rng.getrandbits(8)
            writes.send({"address": address, "data": data, "strobe": strobe})
            mask = sum(0xFF << (8 * byte) for byte in range(8) if strobe >> byte & 1)
            model[address] = (int(model[address]) & ~mask) | (data & mask)
        await bench.until(lambda: writes.pending == 0, "all writes")
        expected: list[int] = []
        for _ in range(24):
            length = rng.randint(1, 20)
            address = rng.randint(0, WORDS - length)
            requests.send({"address": address, "length": length})
            expected += [int(word) for word in model[address : address + length]]
        await read_all(bench, words, expected)
    dumped = Path("dump.hex").resolve()
    await memory.dump(dumped, 100, 50)
    assert (read_hex(dumped, 50) == model[100:150]).all(), "the dump differs from what was written"
    memory.check()


@cocotb.test()
async def a_file_changes_only_its_words(dut: Any) -> None:
    """Two files one after the other, the second into the middle of the first."""
    bench = Bench(dut, "files")
    memory = bench_memory(bench, 5, 0)
    await bench.reset()
    model = contents(bench.random, WORDS)
    patch = contents(bench.random, 17)
    for name, data, address in (("all.hex", model, 0), ("patch.hex", patch, 333)):
        write_hex(Path(name).resolve(), data, address)
        await memory.load(Path(name).resolve())
    model[333 : 333 + 17] = patch
    await memory.dump(Path("all.dump").resolve(), 0, WORDS)
    assert (read_hex(Path("all.dump"), WORDS) == model).all(), "the dump differs from the files"


@cocotb.test()
@cocotb.parametrize(
    stream=["read_request", "write"],
    address=[WORDS - 1, WORDS, (1 << 32) - 1],
)
async def an_access_outside_sets_fault(dut: Any, stream: str, address: int) -> None:
    """Two words, or one write, at the end of the memory and behind it."""
    bench = Bench(dut, "outside")
    bench_memory(bench, 0, 0)
    codec = READ_REQUEST if stream == "read_request" else WRITE
    source = bench.source(stream, codec)
    await bench.reset()
    access = {"address": address, "length": 2} if stream == "read_request" else {"address": address, "data": 0, "strobe": 1}
    source.send(access)
    await bench.until(lambda: source.pending == 0, "the access")
    await bench.cycles(2)
    assert bool(dut.fault.value) == (stream == "read_request" or address >= WORDS)


def bench_memory(bench: Bench, latency: int, pause: int, held: int | None = None) -> MemoryControl:
    """Memory control with all streams quiet."""
    memory = MemoryControl(bench.dut)
    memory.speed(latency, pause, held)
    for name in ("read_request__valid", "write__valid", "read_data__ready"):
        bench.dut[name].value = 0
    return memory


async def read_all(bench: Bench, sink: StreamSink, expected: list[int]) -> None:
    """Compare the next words with the expected ones."""
    board = bench.follow(Scoreboard("words", expected))
    sink.on_item = board.check
    await bench.until(lambda: board.complete, "all words")
