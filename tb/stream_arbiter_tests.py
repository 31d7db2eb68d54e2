"""Stream arbiter: every payload arrives once, in its client's order, and no client is passed over."""

from typing import Any

import cocotb

from hw.contract.descriptor import WRITE
from hw.contract.layout import WORD_BITS
from tb.arbitration import PAYLOADS, REGION, check_fair, clients
from tb.bench import Bench
from tb.streams import Scoreboard, stalls


@cocotb.test()
@cocotb.parametrize(stalls())
async def payloads_arrive_once(dut: Any, idle: str, back_pressure: str) -> None:
    """Writes of all clients at once: each client's in its order; `idle` only while none is held."""
    bench = Bench(dut, "writes", idle, back_pressure)
    sources = [bench.source(f"inputs__{client}", WRITE) for client in range(clients())]
    boards: list[Scoreboard] = []
    granted: list[int] = []

    def check(item: dict[str, int]) -> None:
        assert not dut.idle.value, "idle while a payload is handed over"
        granted.append(item["address"] // REGION)
        boards[granted[-1]].check(item)

    bench.sink("output", WRITE, check)
    await bench.reset()
    assert dut.idle.value, "not idle after reset"
    for client, source in enumerate(sources):
        items = [
            {"address": client * REGION + number, "data": bench.random.getrandbits(WORD_BITS - 1), "strobe": 1 << number % 8}
            for number in range(PAYLOADS)
        ]
        boards.append(bench.follow(Scoreboard(f"payloads of client {client}", items)))
        source.send(*items)
    await bench.until(lambda: all(board.complete for board in boards), "all payloads")
    await bench.until(lambda: dut.idle.value, "idle", 5)
    await bench.cycles(50)
    if idle == "never":
        check_fair(granted)
