"""The row store's buses as they appear in exported Verilog, and what is stored behind them."""

from collections.abc import Callable, Mapping
from typing import Any

from hw.contract.config import ArchonConfig
from hw.contract.layout import Field, Layout
from hw.contract.numerics import LEVEL_BITS
from tb.edges import bit, every_cycle, numbers


def level_word(config: ArchonConfig) -> Layout:
    """First predictor outputs of one slice of one pixel."""
    return Layout("level_word", (Field("levels", LEVEL_BITS, count=config.slice_channels),))


class LevelBanks:
    """What the row store holds: level words by (row modulo config.row_banks, address); all ones where never written."""

    def __init__(self, config: ArchonConfig) -> None:
        self.words: dict[tuple[int, int], int] = {}
        self._config, self.word_bits = config, level_word(config).width

    def read(self, fields: Mapping[str, int]) -> int:
        """The bits of `levels` that a read with these fields is answered with."""
        levels, unwritten, kernel = 0, (1 << self.word_bits) - 1, self._config.kernel
        for index in range(kernel):
            row = (fields["row"] + index - kernel // 2) % self._config.row_banks
            inside = fields["inside"] >> index & 1
            word = self.words.get((row, fields["address"]), unwritten) if inside else 0
            levels |= word << (index * self.word_bits)
        return levels


class LevelWriteMonitor:
    """Hands every level_write of the design to `on_write`, except in the cycle of `start`."""

    FIELDS = ("row", "address", "levels")

    def __init__(self, dut: Any) -> None:
        self._valid, self._start = bit(dut.level_write__valid), bit(dut.start)
        self._read = numbers(dut, "level_write__", self.FIELDS)
        self.on_write: Callable[[dict[str, int]], None] | None = None
        every_cycle(dut, self._step)

    def _step(self, _: bool) -> None:
        if self._valid() and not self._start() and self.on_write is not None:
            self.on_write(self._read())


READ_FIELDS = ("row", "address", "inside")


class RowStoreAgent:
    """Stands in for the row store at a level_read port; answers rubbish where nothing was read.

    Args:
        dut: Handle of the top module.
        banks: What is stored.
        latency: Cycles from a read to its levels, at least 2.
        rubbish: Makes the levels of cycles without a read.
    """

    def __init__(self, dut: Any, banks: LevelBanks, latency: int, rubbish: Callable[[], int]) -> None:
        self._banks, self._rubbish = banks, rubbish
        self._enable, self._read = bit(dut.level_read__enable), numbers(dut, "level_read__", READ_FIELDS)
        self._levels = dut.level_read__levels
        self._answers = [0] * (latency - 1)
        self._levels.value = 0
        every_cycle(dut, self._step)

    def _step(self, _: bool) -> None:
        self._answers.append(self._banks.read(self._read()) if self._enable() else self._rubbish())
        self._levels.value = self._answers.pop(0)
