"""Read arbiter: every client gets its own words in order, and no client is passed over."""

from typing import Any

import cocotb
import numpy as np

from hw.contract.descriptor import READ_REQUEST
from hw.contract.layout import WORD_BITS
from tb.arbitration import PAYLOADS, REGION, background, check_fair, clients
from tb.bench import Bench
from tb.streams import Number, Scoreboard, stalls

LENGTH_MAX = 12


@cocotb.test()
@cocotb.parametrize(stalls(), latency=[(0, 0), (1, 30)])
async def words_go_to_the_client_that_asked(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Random bursts of all clients at once, memory and clients held at random; the background waits for all others."""
    bench = Bench(dut, f"reads {latency}", idle, back_pressure)
    random = np.random.default_rng(bench.random.getrandbits(64))
    granted: list[int] = []
    contents = random.integers(0, 1 << 64, clients() * REGION, dtype=np.uint64)
    memory = bench.serve(contents, latency, on_read=lambda address, _: granted.append(address // REGION))
    sources = [bench.source(f"clients__{client}__read_request", READ_REQUEST) for client in range(clients())]
    sinks = [bench.sink(f"clients__{client}__read_data", Number(WORD_BITS)) for client in range(clients())]
    await bench.reset()
    boards = []
    for client in range(clients()):
        lengths = random.integers(1, LENGTH_MAX + 1, PAYLOADS)
        starts = client * REGION + random.integers(0, REGION - LENGTH_MAX, PAYLOADS)
        requests = [{"address": int(start), "length": int(length)} for start, length in zip(starts, lengths, strict=True)]
        expected = [int(word) for item in requests for word in memory.words[item["address"] :][: item["length"]]]
        boards.append(bench.follow(Scoreboard(f"words of client {client}", expected)))
        sinks[client].on_item = boards[-1].check
        sources[client].send(*requests)
    await bench.until(lambda: all(board.complete for board in boards), "all words")
    await bench.cycles(50)
    if idle == "never" and background():
        foreground = clients() - background()
        assert max(granted[: PAYLOADS * foreground]) < foreground <= min(granted[PAYLOADS * foreground :]), granted
    elif idle == "never":
        check_fair(granted)
