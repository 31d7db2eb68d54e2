"""Four rows of first predictor outputs, read as 3x3 windows."""

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import KERNEL, ROW_BANKS, TAPS, ArchonConfig, index_bits
from hw.rtl.interfaces import level_word
from hw.rtl.pipeline import delay

BANK_BITS = index_bits(ROW_BANKS)
READ_LATENCY = 3
"""Cycles from a read to its taps."""


def level_write(config: ArchonConfig) -> wiring.Signature:
    """While `valid`, one slice of one pixel takes `levels`.

    `row` and `column` are those of the pixel modulo 4; `address` = (column // 4) * slices + slice.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "row": Out(BANK_BITS),
            "column": Out(BANK_BITS),
            "address": Out(index_bits(config.depths.row_store)),
            "levels": Out(level_word(config)),
        }
    )


def level_read(config: ArchonConfig) -> wiring.Signature:
    """While `enable`, reads one slice of the 3x3 window around a pixel; `taps` answers READ_LATENCY cycles later.

    `row` and `column` are those of the centre modulo 4; `address` is the centre's as in level_write, `neighbour` the
    address in the column's next (column % 4 = 3) or previous (column % 4 = 0) group of four. rows[i], columns[i] tell
    whether row centre + i - 1 and column centre + i - 1 lie in the image. taps[3 * (dy + 1) + (dx + 1)] is the level word
    there, zero outside the image.
    """
    address = index_bits(config.depths.row_store)
    return wiring.Signature(
        {
            "enable": Out(1),
            "row": Out(BANK_BITS),
            "column": Out(BANK_BITS),
            "address": Out(address),
            "neighbour": Out(address),
            "rows": Out(KERNEL),
            "columns": Out(KERNEL),
            "taps": In(data.ArrayLayout(level_word(config), TAPS)),
        }
    )


class RowStore(wiring.Component):
    """Sixteen banks, by row modulo 4 and column modulo 4, so that all nine taps of any window are read at once.

    Parameters: `config`.

    Members: `level_write`, `level_read`: see the functions of these names.

    Latency: a write is seen by reads of the next cycle; reads take READ_LATENCY cycles. Throughput: one write and one
    read a cycle. Never stalls. Without `enable`, the taps of that cycle are meaningless.
    """

    level_write: Any
    level_read: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"level_write": In(level_write(config)), "level_read": In(level_read(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks = [[self._bank(m, row, column) for column in range(ROW_BANKS)] for row in range(ROW_BANKS)]

        # One cycle after the read: for each row of the window, choose the row bank in every column bank.
        center_row = delay(m, self.level_read.row, 1)
        chosen: list[list[Signal]] = []
        for dy in range(KERNEL):
            index = Signal(BANK_BITS, name=f"row_bank_{dy}")
            m.d.comb += index.eq(center_row + dy - 1)
            chosen.append([])
            for bank_column in range(ROW_BANKS):
                word = Signal(len(banks[0][0]), reset_less=True, name=f"chosen_{dy}_{bank_column}")
                m.d.sync += word.eq(Array(banks[bank][bank_column] for bank in range(ROW_BANKS))[index])
                chosen[dy].append(word)

        # Two cycles after it: choose the column banks and blank what lies outside the image.
        center_column = delay(m, self.level_read.column, 2)
        rows, columns = delay(m, self.level_read.rows, 2), delay(m, self.level_read.columns, 2)
        for dx in range(KERNEL):
            index = Signal(BANK_BITS, name=f"column_bank_{dx}")
            m.d.comb += index.eq(center_column + dx - 1)
            for dy in range(KERNEL):
                tap = Signal(len(banks[0][0]), reset_less=True, name=f"tap_{dy}_{dx}")
                m.d.sync += tap.eq(Mux(rows[dy] & columns[dx], Array(chosen[dy])[index], 0))
                m.d.comb += Value.cast(self.level_read.taps[KERNEL * dy + dx]).eq(tap)
        return m

    def _bank(self, m: Module, row: int, column: int) -> Value:
        """One bank with its ports connected; returns the word that it read."""
        bank = memory.Memory(shape=level_word(self._config), depth=self._config.depths.row_store, init=[])
        m.submodules[f"bank_{row}_{column}"] = bank
        write, read = bank.write_port(), bank.read_port()
        m.d.comb += [
            write.en.eq(self.level_write.valid & (self.level_write.row == row) & (self.level_write.column == column)),
            write.addr.eq(self.level_write.address),
            write.data.eq(self.level_write.levels),
            read.en.eq(self.level_read.enable),
            read.addr.eq(self.level_read.address),
        ]
        if column in (0, ROW_BANKS - 1):  # the only banks where a tap can fall into a neighbouring group
            with m.If(self.level_read.column == ROW_BANKS - 1 - column):
                m.d.comb += read.addr.eq(self.level_read.neighbour)
        return Value.cast(read.data)
