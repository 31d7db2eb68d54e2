"""Walks a job's outputs in the order in which they are computed."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ADDRESS_BITS, ArchonConfig, index_bits
from hw.rtl.interfaces import JOB


class OutputWalk(wiring.Component):
    """Output channel and pixel address of each output of a job: pixels row-major in the band, channels within a pixel.

    Parameters: `config`.

    Members: `job`; `start`; `base` word address of the tensor; `advance` moves on to the next output; `active` while there
    is one; `channel`; `pixel_address` = base + job.first_pixel + pixel, to which the channel's plane is added. The first
    output is there in the cycle after `start`, the next one in the cycle after `advance`.
    """

    job: data.View
    start: Signal
    base: Signal
    advance: Signal
    active: Signal
    channel: Signal
    pixel_address: Signal

    def __init__(self, config: ArchonConfig) -> None:
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "base": In(ADDRESS_BITS),
                "advance": In(1),
                "active": Out(1),
                "channel": Out(index_bits(config.depths.output)),
                "pixel_address": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        column, rows_left = Signal.like(self.job.output_width), Signal.like(self.job.output_rows)
        last_channel, last_column = Signal(), Signal()
        m.d.comb += [
            last_channel.eq(self.channel == self.job.output_channels - 1),
            last_column.eq(column == self.job.output_width - 1),
            self.active.eq(rows_left != 0),
        ]
        with m.If(self.advance):
            m.d.sync += self.channel.eq(Mux(last_channel, 0, self.channel + 1))
            with m.If(last_channel):
                m.d.sync += [
                    self.pixel_address.eq(self.pixel_address + 1),
                    column.eq(Mux(last_column, 0, column + 1)),
                    rows_left.eq(rows_left - last_column),
                ]
        with m.If(self.start):
            m.d.sync += [
                self.channel.eq(0),
                column.eq(0),
                rows_left.eq(self.job.output_rows),
                self.pixel_address.eq(self.base + self.job.first_pixel),
            ]
        return m
