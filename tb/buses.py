"""Agents for the write buses inside a cluster: they have no ready, a row is taken in the cycle in which it is shown."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from cocotb.triggers import RisingEdge
from numpy.typing import NDArray

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.layout import words_to_int
from hw.contract.tables import TableKind, table_layout
from tb.streams import Pattern, never

Rows = NDArray[np.uint64] | Iterable[int]


class BusWriter:
    """Drives a write bus.

    Args:
        dut: Handle of the top module.
        name: Name of the bus.
        idle: Cycles in which nothing is written.
        resting: What the bus shows at first.
    """

    def __init__(self, dut: Any, name: str, idle: Pattern | None, **resting: int) -> None:
        self._idle, self._edge = idle or never(), RisingEdge(dut.clk)
        self._handles = {part: dut[f"{name}__{part}"] for part in resting}
        self._shown: dict[str, int] = {}
        self._show(**resting)

    def _show(self, **values: int) -> None:
        for part, value in values.items():
            if self._shown.get(part) != value:  # a write costs more than a cycle of a small unit
                self._handles[part].value = self._shown[part] = value

    async def _take(self, idle: Mapping[str, int], **values: int) -> None:
        """Show `idle` for as long as the pattern says, then the values for one cycle."""
        while next(self._idle):
            self._show(**idle)
            await self._edge
        self._show(**values)
        await self._edge


class TableWriter(BusWriter):
    """Fills tables over a table-write bus.

    Args:
        dut: Handle of the top module.
        name: Name of the bus.
        idle: Cycles in which nothing is written; the bus then shows rubbish without `valid`.
    """

    def __init__(self, dut: Any, name: str = "table_write", idle: Pattern | None = None) -> None:
        super().__init__(dut, name, idle, valid=0, half=0, kind=0, row=0, data=0)
        self.half = 0
        """Of the tables, to be written."""

    async def write(self, kind: TableKind, rows: Rows, first: int = 0, places: Iterable[int] | None = None) -> None:
        """Write rows, packed (rows, words) as by Layout.pack_rows or one number each, from row `first` on, or to `places`."""
        for index, row in zip(itertools.count(first) if places is None else places, rows, strict=False):
            place = {"half": self.half, "kind": int(kind), "row": index}
            number = row if isinstance(row, int) else words_to_int(row)
            await self._take(place | {"valid": 0, "data": 0}, **place, valid=1, data=number)
        self._show(valid=0)


class ActivationWriter(BusWriter):
    """Fills the lanes' activation stores over an activation-write bus."""

    def __init__(self, dut: Any, config: ArchonConfig, name: str = "activation_write", idle: Pattern | None = None) -> None:
        super().__init__(dut, name, idle, enable=0, address=0, data=0)
        self._lanes, self._address_bits = config.lanes, index_bits(config.depths.activation)

    async def write(self, tensor: NDArray[np.integer], first: int = 0, stop: int | None = None) -> None:
        """Write (channels, pixels) int8 values: channel c goes to lane c % lanes, row (c // lanes) * pixels + pixel.

        Only pixels `first` to `stop` - 1, by default all of them.
        """
        channels, pixels = tensor.shape
        for channel in range(channels):
            turn, lane = divmod(channel, self._lanes)
            for pixel in range(pixels)[first:stop]:
                address = (turn * pixels + pixel) << (lane * self._address_bits)
                data = (int(tensor[channel, pixel]) & 0xFF) << (lane * 8)
                await self._take({"enable": 0}, enable=1 << lane, address=address, data=data)
        self._show(enable=0)


class LaneActivationWriter(BusWriter):
    """Fills one lane's activation store over its part of the bus."""

    def __init__(self, dut: Any, name: str = "activation_write", idle: Pattern | None = None) -> None:
        super().__init__(dut, name, idle, enable=0, address=0, data=0)

    async def write(self, values: NDArray[np.integer], first: int = 0, stop: int | None = None) -> None:
        """Write (turns, pixels) int8 values of the lane's channels, turn by turn; only pixels `first` to `stop` - 1."""
        for turn, row in enumerate(values):
            for pixel in range(len(row))[first:stop]:
                await self._take({"enable": 0}, enable=1, address=turn * len(row) + pixel, data=int(row[pixel]) & 0xFF)
        self._show(enable=0)


def pack_table(kind: TableKind, config: ArchonConfig, columns: dict[str, Any]) -> NDArray[np.uint64]:
    """Packed rows of a table from its columns."""
    return table_layout(kind, config).pack_rows(columns)
