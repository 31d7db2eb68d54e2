"""Rows off words: each once, in order, one a cycle while there are words; a restart leaves the rest of a word out."""

import os
from typing import Any

import cocotb

from hw.contract.layout import WORD_BITS
from tb.bench import Bench
from tb.edges import bit, every_cycle, number
from tb.streams import Number, pattern, stalls

WORDS = 400
RESTARTS = 0.05
"""Share of cycles with a restart."""

ROW_BITS = int(os.environ.get("ARCHON_ROW_BITS", "1"))


class RowTaker:
    """Takes rows except where the bench's back-pressure holds, restarts now and then, and compares with the words' rows."""

    def __init__(self, bench: Bench, words: list[int]) -> None:
        dut = bench.dut
        self._dut, self._words, self._random = dut, words, bench.random
        self._hold = pattern(bench.back_pressure, bench.random)
        self._valid, self._row, self._word_valid = bit(dut.valid), number(dut.row), bit(dut.words__valid)
        self._enable = self._restart = False
        self._word = self._left = 0
        self.begun = self.left_out = 0
        dut.enable.value = dut.restart.value = 0
        every_cycle(dut, self._step)

    def describe(self) -> str:
        """One phrase on how far this came, for time-outs."""
        return f"{self.begun} of {len(self._words)} words begun"

    def _step(self, reset: bool) -> None:
        if reset:
            return
        valid = self._valid()
        assert valid == (self._left > 0 or self._word_valid()), f"valid is {valid} with {self._left} rows of word {self.begun}"
        if self._enable and valid:
            self._take()
        if self._restart:
            self.left_out += self._left
            self._left = 0
        self._enable, self._restart = not next(self._hold), self._random.random() < RESTARTS
        self._dut.enable.value, self._dut.restart.value = int(self._enable), int(self._restart)

    def _take(self) -> None:
        if not self._left:
            self._word, self._left = self._words[self.begun], WORD_BITS // ROW_BITS
            self.begun += 1
        expected, row = self._word & ((1 << ROW_BITS) - 1), self._row()
        assert row == expected, f"word {self.begun}, {self._left} rows left: {expected:#x} expected, got {row:#x}"
        self._word, self._left = self._word >> ROW_BITS, self._left - 1


@cocotb.test()
@cocotb.parametrize(stalls())
async def rows_are_those_of_the_words(dut: Any, idle: str, back_pressure: str) -> None:
    """Random words, taken and restarted at random."""
    bench = Bench(dut, f"packed {ROW_BITS}", idle, back_pressure)
    source = bench.source("words", Number(WORD_BITS))
    words = [bench.random.getrandbits(WORD_BITS) for _ in range(WORDS)]
    taker = bench.follow(RowTaker(bench, words))
    await bench.reset()
    source.send(*words)
    await bench.until(lambda: taker.begun == WORDS, "the last word")
    assert source.sent == WORDS, f"{WORDS} words to take, {source.sent} were"
    assert bool(taker.left_out) == (ROW_BITS <= WORD_BITS // 2), f"{taker.left_out} rows left out by restarts"
