"""Window guard: exactly the bursts inside the window pass."""

from typing import Any

import cocotb

from hw.contract.axi import BURST_WORDS_MAX, BYTE_ADDRESS_BITS, WORD_BYTES
from hw.contract.layout import Field, Layout
from tb.bench import Bench
from tb.stopping import Failures
from tb.streams import Scoreboard, stalls

TOP = 1 << BYTE_ADDRESS_BITS
BURST = Layout("burst", (Field("address", BYTE_ADDRESS_BITS + 1), Field("words", 9), Field("extra", 8)))
BURSTS = 300
WINDOWS = {
    "ordinary": (0x1234_5678, 0x1234_A000),
    "one word": (0x1000, 0x1000 + WORD_BYTES),
    "less than a word": (0x1000, 0x1000 + WORD_BYTES - 1),
    "nothing": (0, 0),
    "negative": (0x2000, 0x1000),
    "everything": (0, TOP),
    "beyond everything": (0x1000, 2 * TOP - 1),
    "behind everything": (TOP, 2 * TOP - 1),
}


@cocotb.test()
@cocotb.parametrize(stalls())
async def bursts_inside_pass(dut: Any, idle: str, back_pressure: str) -> None:
    """Bursts at and around both ends of every window, and anywhere."""
    bench = Bench(dut, "guard", idle, back_pressure)
    source, sink, failures = bench.source("input", BURST), bench.sink("output", BURST), Failures(dut, "outside")
    dut.stop.value = 0
    await bench.reset()
    for name, (base, limit) in WINDOWS.items():
        dut.window__base.value, dut.window__limit.value = base, limit
        bursts = [_burst(bench, base, limit) for _ in range(BURSTS // len(WINDOWS))]
        ends = [burst["address"] + WORD_BYTES * burst["words"] for burst in bursts]
        passed = [base <= burst["address"] and end <= min(limit, TOP) for burst, end in zip(bursts, ends, strict=True)]
        inside = [burst for burst, passes in zip(bursts, passed, strict=True) if passes]
        outside = [burst["address"] for burst, passes in zip(bursts, passed, strict=True) if not passes]
        failures.addresses.clear()
        board = bench.follow(Scoreboard(name, inside))
        sink.on_item = board.check
        source.send(*bursts)
        await bench.until(lambda: not source.pending, name)
        await bench.until(lambda: not dut.output__valid.value, name)
        await bench.cycles(20)
        board.finish()
        assert failures.addresses == outside, f"{name}: {failures.addresses} reported outside, {outside} expected"


@cocotb.test()
async def stop_takes_nothing_and_keeps_what_is_offered(dut: Any) -> None:
    """While stopped, the burst on offer stays, and no other is taken."""
    bench = Bench(dut, "guard stopped", back_pressure="rarely")
    source, sink = bench.source("input", BURST), bench.sink("output", BURST)
    dut.window__base.value, dut.window__limit.value, dut.stop.value = 0, TOP, 0
    await bench.reset()
    bursts = [{"address": WORD_BYTES * number, "words": 1, "extra": number} for number in range(200)]
    board = bench.follow(Scoreboard("bursts", bursts))
    sink.on_item = board.check
    source.send(*bursts)
    while not board.complete:
        await bench.cycles(bench.random.randint(1, 9))
        dut.stop.value = 1
        await bench.cycles(1)
        sent = source.sent
        await bench.cycles(bench.random.randint(1, 9))
        assert source.sent <= sent + 1, "bursts are taken while stopped"  # one more may be counted at the edge before
        dut.stop.value = 0
    assert board.count == len(bursts)


def _burst(bench: Bench, base: int, limit: int) -> dict[str, int]:
    rng = bench.random
    words = rng.choice([1, 1, 2, BURST_WORDS_MAX, rng.randint(1, BURST_WORDS_MAX)])
    near = rng.choice([base, limit - WORD_BYTES * words, limit, TOP - WORD_BYTES * words, rng.randrange(2 * TOP)])
    address = min(max(0, near + rng.choice([-WORD_BYTES, -1, 0, 0, 1, WORD_BYTES])), 2 * TOP - 1)
    return {"address": address, "words": words, "extra": rng.getrandbits(8)}
