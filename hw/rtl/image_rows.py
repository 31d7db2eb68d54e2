"""Four rows of a raw image's activations, read three rows at a time."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import IMAGE_ROW_BANKS, ArchonConfig, index_bits
from hw.contract.memory import IMAGE_CHANNELS
from hw.contract.numerics import ACTIVATION_BITS
from hw.contract.taps import SMALL_KERNEL
from hw.rtl.row_store import row_banks

BANK_BITS = index_bits(IMAGE_ROW_BANKS)

PIXEL = data.ArrayLayout(unsigned(ACTIVATION_BITS), IMAGE_CHANNELS)
"""Activations of one pixel; those of channels that the image does not have mean nothing."""


def pixel_write(config: ArchonConfig) -> wiring.Signature:
    """While `valid`, a column of a row takes `pixel`; `row` is the row modulo 4, `address` the column."""
    members = {"valid": Out(1), "row": Out(BANK_BITS), "address": Out(index_bits(config.depths.image_row)), "pixel": Out(PIXEL)}
    return wiring.Signature(members)


def pixel_read(config: ArchonConfig) -> wiring.Signature:
    """`enable` reads a column in three neighbouring rows; `pixels` shows it from the next cycle until the next read.

    `row` is the middle row modulo 4, `address` the column. `inside[i]` tells whether row `row` + i - 1 of this column lies in
    the image: pixels[i] is the pixel there, or zeros outside. A row that is written in the same cycle must not be read.
    """
    return wiring.Signature(
        {
            "enable": Out(1),
            "row": Out(BANK_BITS),
            "address": Out(index_bits(config.depths.image_row)),
            "inside": Out(SMALL_KERNEL),
            "pixels": In(data.ArrayLayout(PIXEL, SMALL_KERNEL)),
        }
    )


class ImageRows(wiring.Component):
    """Four banks, by row modulo 4: three are read while the fourth is written.

    Parameters: `config`.

    Members: `pixel_write`, `pixel_read`: see the functions of these names.

    Latency: a write is seen by reads of the next cycle; reads take 1 cycle. Throughput: one write and one read a cycle. Never
    stalls.
    """

    pixel_write: Any
    pixel_read: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"pixel_write": In(pixel_write(config)), "pixel_read": In(pixel_read(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self._config.depths.image_row
        banks = row_banks(m, IMAGE_ROW_BANKS, PIXEL, depth, self.pixel_write, self.pixel_write.pixel, self.pixel_read)
        for index in range(SMALL_KERNEL):
            # One-hot selects and an OR take half the logic of a multiplexer.
            chosen = Signal(IMAGE_ROW_BANKS, reset_less=True, name=f"chosen_{index}")
            row = (self.pixel_read.row + index - 1)[:BANK_BITS]
            with m.If(self.pixel_read.enable):
                m.d.sync += chosen.eq(Mux(self.pixel_read.inside[index], 1 << row, 0))
            masked = [bank & bit.replicate(len(bank)) for bank, bit in zip(banks, chosen, strict=True)]
            m.d.comb += Value.cast(self.pixel_read.pixels[index]).eq((masked[0] | masked[1]) | (masked[2] | masked[3]))
        return m
