"""Rows of first predictor outputs, read as many at a time as a window has."""

from typing import Any

from amaranth.hdl import Array, Module, ShapeLike, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, ArchonConfig, index_bits
from hw.rtl.interfaces import level_word
from hw.rtl.pipeline import delay

READ_LATENCY = 2
"""Cycles from a read to its levels."""


def bank_bits(config: ArchonConfig) -> int:
    """Width of a row's number modulo config.row_banks."""
    return index_bits(config.row_banks)


def level_write(config: ArchonConfig) -> wiring.Signature:
    """While `valid`, one slice of one pixel takes `levels`.

    `row` is the pixel's row modulo config.row_banks; `address` = column * slices + slice.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "row": Out(bank_bits(config)),
            "address": Out(index_bits(config.depths.row_store)),
            "levels": Out(level_word(config)),
        }
    )


def level_read(config: ArchonConfig) -> wiring.Signature:
    """While `enable`, reads a slice of a column in config.kernel neighbouring rows; `levels` answers READ_LATENCY cycles later.

    `row` is the middle row modulo config.row_banks, `address` as in level_write. `inside[i]` tells whether row
    `row` + i - config.kernel // 2 of this column lies in the image: levels[i] is the level word there, or zero outside. A word
    that is written in the same cycle must not be among those.
    """
    return wiring.Signature(
        {
            "enable": Out(1),
            "row": Out(bank_bits(config)),
            "address": Out(index_bits(config.depths.row_store)),
            "inside": Out(config.kernel),
            "levels": In(data.ArrayLayout(level_word(config), config.kernel)),
        }
    )


def rows_done() -> wiring.Signature:
    """What was written: image rows below `row` completely, and in that row the columns below `column`.

    Of the rows that a job's first window needs only these columns were written in all, while `row` is the last of them.
    """
    return wiring.Signature({"row": Out(DIMENSION_BITS), "column": Out(DIMENSION_BITS)})


def rows_reading() -> wiring.Signature:
    """What may still be read: image rows from `row` on, but in columns below `column` only those from `next_row` on."""
    return wiring.Signature({"row": Out(DIMENSION_BITS), "next_row": Out(DIMENSION_BITS), "column": Out(DIMENSION_BITS)})


def row_banks(m: Module, count: int, shape: ShapeLike, depth: int, write: Any, written: Any, read: Any) -> list[Value]:
    """A memory of `depth` words for each row modulo `count`; returns the words that they read.

    `write` has `valid`, `row` and `address` as in level_write, and takes the word `written`; `read` has `enable` and `address`.
    """
    words = []
    collides = write.address == read.address
    for row in range(count):
        m.submodules[f"bank_{row}"] = bank = memory.Memory(shape=shape, depth=depth, init=[])
        write_port, read_port = bank.write_port(), bank.read_port()
        # No word is read while it is written; saying so spares synthesis the logic for it.
        m.d.comb += [
            write_port.en.eq(write.valid & (write.row == row)),
            write_port.addr.eq(write.address),
            write_port.data.eq(written),
            read_port.en.eq(read.enable & ~(write_port.en & collides)),
            read_port.addr.eq(read.address),
        ]
        words.append(Value.cast(read_port.data))
    return words


class RowStore(wiring.Component):
    """config.row_banks banks, by row modulo their number: those of a window are read while another one is written.

    Parameters: `config`.

    Members: `level_write`, `level_read`: see the functions of these names.

    Latency: a write is seen by reads of the next cycle; reads take READ_LATENCY cycles. Throughput: one write and one
    read a cycle. Never stalls. Without `enable`, the levels of that cycle are meaningless.
    """

    level_write: Any
    level_read: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"level_write": In(level_write(config)), "level_read": In(level_read(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape, depth = level_word(self._config), self._config.depths.row_store
        banks = row_banks(m, self._config.row_banks, shape, depth, self.level_write, self.level_write.levels, self.level_read)
        center, inside = delay(m, self.level_read.row, 1), delay(m, self.level_read.inside, 1)
        for index in range(self._config.kernel):
            row = Signal(bank_bits(self._config), name=f"row_{index}")
            levels = Signal(len(banks[0]), reset_less=True, name=f"levels_{index}")
            m.d.comb += [
                row.eq(center + index - self._config.kernel // 2),
                Value.cast(self.level_read.levels[index]).eq(levels),
            ]
            with m.If(inside[index]):
                m.d.sync += levels.eq(Array(banks)[row])
            with m.Else():
                m.d.sync += levels.eq(0)
        return m
