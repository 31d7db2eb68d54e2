"""Table loader: every row of a segment once, in order; nothing read outside the segment."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.contract.config import ArchonConfig
from hw.contract.layout import int_to_words
from hw.contract.tables import PER_LANE, SECTION_HEADER, TableKind, table_depth, table_layout
from tb.bench import configuration
from tb.loaders import LoaderBench
from tb.streams import PATTERNS, Scoreboard

JOBS = 4
WORDS = 1 << 13
ROWS_MAX = 150
"""More words than one request asks for."""


class TableWriteMonitor:
    """Collects the rows on the table-write bus as (kind, lane, row, bits of that table)."""

    def __init__(self, dut: Any, config: ArchonConfig) -> None:
        self._dut, self._config = dut, config
        self.board = Scoreboard("rows", [])
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        edge, dut = RisingEdge(self._dut.clk), self._dut
        while True:
            await edge
            if dut.rst.value or not dut.table_write__valid.value:
                continue
            kind, lane, row, data = (int(dut[f"table_write__{name}"].value) for name in ("kind", "lane", "row", "data"))
            width = table_layout(TableKind(kind), self._config).width
            self.board.check((kind, lane, row, data & ((1 << width) - 1)))


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), back_pressure=list(PATTERNS), latency=[(0, 0), (1, 30)])
async def every_row_once(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Segments in a row, each of random sections, empty ones among them, ending anywhere in memory."""
    bench = LoaderBench(dut, "tables", WORDS, idle, back_pressure, latency)
    config, memory = configuration(), bench.memory
    random = np.random.default_rng(bench.random.getrandbits(64))
    monitor = TableWriteMonitor(dut, config)
    await bench.reset()
    for number in range(JOBS):
        words, rows = random_segment(config, random)
        address = int(random.integers(0, WORDS - len(words) + 1))
        memory.words[address : address + len(words)] = words
        memory.missing[:] = True
        memory.missing[address : address + len(words)] = False
        monitor.board = bench.follow(Scoreboard(f"segment {number}", rows))
        await bench.load({"table_address": address})
        monitor.board.finish()
        await bench.check_stays_done(len(words))


def random_segment(config: ArchonConfig, random: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A segment's words, and its rows as (kind, lane, row, bits)."""
    words: list[int] = []
    rows: list[tuple[int, int, int, int]] = []
    for kind in random.permutation(range(TableKind.END + 1, len(TableKind))):
        layout, lanes = table_layout(TableKind(kind), config), config.lanes if kind in PER_LANE else 1
        for lane in range(lanes):
            count = int(random.integers(3, ROWS_MAX)) if random.random() < 0.3 else int(random.integers(0, 3))
            count = min(count, table_depth(TableKind(kind), config))
            words.append(header(int(kind), lane, layout.words, count))
            for row in range(count):
                bits = int.from_bytes(random.bytes(layout.words * 8), "little") & ((1 << layout.width) - 1)
                words.extend(int_to_words(bits, layout.words))
                rows.append((int(kind), lane, row, bits))
    words.append(header(TableKind.END, 0, 0, 0))
    return np.array(words, dtype=np.uint64), rows


def header(kind: int, lane: int, words: int, rows: int) -> int:
    """A packed section header."""
    return SECTION_HEADER.pack({"kind": kind, "lane": lane, "words": words, "rows": rows})
