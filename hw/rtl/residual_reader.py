"""Fetches the activations that a job adds to its outputs."""

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.numerics import ACTIVATION_BITS
from hw.contract.tables import TableKind
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, table_write
from hw.rtl.output_walk import OutputWalk
from hw.rtl.queue import Queue
from hw.rtl.table_memory import TableMemory

ACTIVATION = stream.Signature(signed(ACTIVATION_BITS))


class ResidualReader(wiring.Component):
    """Reads one activation for every output of a job with `job.residual`, in the order of the outputs.

    Its place is the output's: byte `byte` of word residual_address + plane + first_pixel + pixel, by the REQUANTIZE row
    of the output channel. Every activation is a request of its own, of one word.

    Parameters: `config`.

    Members: `job`; `start` begins, once all activations of the job before were taken; `table_write`; `read_request`,
    `read_data`; `activations` out.

    At most queues.residual activations are asked for and not yet taken, so that `read_data` always finds room.
    Throughput 1 activation a cycle, latency 2 cycles from `start` to the first request, 2 from word to activation; stalls
    with `read_request` and `activations`.
    """

    job: data.View
    start: Signal
    table_write: Any
    read_request: stream.Interface
    read_data: stream.Interface
    activations: stream.Interface

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "activations": Out(ACTIVATION),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = TableMemory(TableKind.REQUANTIZE, self._config)
        m.submodules.walk = walk = OutputWalk(self._config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        depth = self._config.queues.residual
        byte = table.row.byte
        m.submodules.bytes_due = bytes_due = Queue(len(byte), depth)
        m.submodules.fetched = fetched = Queue(signed(ACTIVATION_BITS), depth)
        wiring.connect(m, fetched.output, wiring.flipped(self.activations))

        # Request: walk, then the table row of its channel, then the memory's address channel.
        valid, advance, asked = Signal(), Signal(), Signal()
        pixel_address = Signal.like(walk.pixel_address)
        room = Signal(range(depth + 1), init=depth)
        given = self.activations.valid & self.activations.ready
        m.d.comb += [
            walk.job.eq(self.job),
            walk.start.eq(self.start & self.job.residual),
            walk.base.eq(self.job.residual_address),
            advance.eq(~valid | asked),
            walk.advance.eq(walk.active & advance),
            table.enable.eq(advance),
            table.half.eq(self.job.half),
            table.address.eq(walk.channel),
            self.read_request.payload.address.eq(pixel_address + table.row.plane),
            self.read_request.payload.length.eq(1),
            self.read_request.valid.eq(valid & (room != 0) & bytes_due.input.ready),
            asked.eq(self.read_request.valid & self.read_request.ready),
            bytes_due.input.payload.eq(byte),
            bytes_due.input.valid.eq(asked),
        ]
        m.d.sync += room.eq(room - asked + given)
        with m.If(advance):
            m.d.sync += [valid.eq(walk.active), pixel_address.eq(walk.pixel_address)]

        # Answer: words come back in the order of the requests.
        m.d.comb += [
            fetched.input.payload.eq(self.read_data.payload.word_select(bytes_due.output.payload, ACTIVATION_BITS)),
            fetched.input.valid.eq(self.read_data.valid & bytes_due.output.valid),
            self.read_data.ready.eq(fetched.input.ready & bytes_due.output.valid),
            bytes_due.output.ready.eq(self.read_data.valid & fetched.input.ready),
        ]
        return m
