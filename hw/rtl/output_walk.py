"""Walks a job's outputs in the order in which they are computed."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ADDRESS_BITS, ArchonConfig, index_bits
from hw.contract.rules import outputs_of_pixel
from hw.rtl.interfaces import JOB


class OutputWalk(wiring.Component):
    """Output channel and pixel address of each output of a job: pixels row-major in the band, channels within a pixel.

    A job that adds up its pixels (job.summed) has one output pixel with job.sum_last, and none without.

    Parameters: `config`.

    Members: `job`; `start`; `all_pixels`: walk all pixels of the band also where they are added up; `base` word address of the
    tensor; `advance` moves on to the next output; `active` while there is one; `channel`, `last_channel`, `last_pixel` say
    which; `pixel_address` = base + job.first_pixel + pixel, to which the channel's plane is added. The first output is there
    in the cycle after `start`, the next one in the cycle after `advance`.
    """

    job: data.View
    start: Signal
    all_pixels: Signal
    base: Signal
    advance: Signal
    active: Signal
    channel: Signal
    last_channel: Signal
    last_pixel: Signal
    pixel_address: Signal

    def __init__(self, config: ArchonConfig) -> None:
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "all_pixels": In(1),
                "base": In(ADDRESS_BITS),
                "advance": In(1),
                "active": Out(1),
                "channel": Out(index_bits(config.depths.output)),
                "last_channel": Out(1),
                "last_pixel": Out(1),
                "pixel_address": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job, outputs = self.job, outputs_of_pixel(self.job, Mux)
        column, rows_left = Signal.like(job.output_width), Signal.like(job.output_rows)
        next_channel, next_column, rows = Signal.like(self.channel), Signal.like(column), Signal.like(rows_left)
        last_channel, last_of_row = Signal.like(self.channel), Signal.like(column)  # of the job, which stands from `start` on
        last_column, last_row, one_pixel = Signal(), Signal(), Signal()
        m.d.sync += [last_channel.eq(outputs - 1), last_of_row.eq(job.output_width - 1)]
        m.d.comb += [
            one_pixel.eq(job.summed & ~self.all_pixels),
            rows.eq(Mux(one_pixel, job.sum_last, job.output_rows)),
            next_channel.eq(Mux(self.last_channel, 0, self.channel + 1)),
            next_column.eq(Mux(last_column, 0, column + 1)),
            self.last_pixel.eq(last_column & last_row),
        ]
        with m.If(self.advance):
            m.d.sync += [self.channel.eq(next_channel), self.last_channel.eq(next_channel == last_channel)]
            with m.If(self.last_channel):
                m.d.sync += [
                    self.pixel_address.eq(self.pixel_address + 1),
                    column.eq(next_column),
                    last_column.eq((next_column == last_of_row) | one_pixel),
                    self.active.eq(~self.last_pixel),
                ]
                with m.If(last_column):
                    m.d.sync += [rows_left.eq(rows_left - 1), last_row.eq(rows_left == 2)]
        with m.If(self.start):
            m.d.sync += [
                self.channel.eq(0),
                self.last_channel.eq(outputs == 1),
                column.eq(0),
                last_column.eq((job.output_width == 1) | one_pixel),
                rows_left.eq(rows),
                last_row.eq(rows == 1),
                self.active.eq(rows != 0),
                self.pixel_address.eq(self.base + job.first_pixel),
            ]
        return m
