"""One on-chip table: filled from the table-write bus, read one row a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import TableKind, table_depth, table_layout
from hw.rtl.interfaces import struct, table_write


class TableMemory(wiring.Component):
    """A table of one kind.

    Parameters: `kind` chooses layout and depth; with a config.table_halves of 1 `half` means nothing. Whoever has several
    tables of a kind gates `write.valid`.

    Members: `write` the table-write bus; `enable`, `half`, `address` start a read, `row` is that row from the next cycle until
    the next read. Latency 1 cycle, throughput 1 row a cycle. Reading a row while it is written gives the old row.
    """

    write: Any
    enable: Signal
    half: Signal
    address: Signal
    row: data.View

    def __init__(self, kind: TableKind, config: ArchonConfig) -> None:
        self._kind = kind
        self._layout = struct(table_layout(kind, config))
        self._depth, self._halves = table_depth(kind, config), config.table_halves
        super().__init__(
            {
                "write": In(table_write(config)),
                "enable": In(1),
                "half": In(1),
                "address": In(index_bits(self._depth)),
                "row": Out(self._layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=self._layout, depth=self._halves * self._depth, init=[])
        write, read = storage.write_port(), storage.read_port()
        second = self._depth if self._halves > 1 else 0
        m.d.comb += [
            write.en.eq(self.write.valid & (self.write.kind == self._kind)),
            write.addr.eq(self.write.row[: len(self.address)] + Mux(self.write.half, second, 0)),
            write.data.eq(self.write.data),
            read.en.eq(self.enable),
            read.addr.eq(self.address + Mux(self.half, second, 0)),
            self.row.eq(read.data),
        ]
        return m
