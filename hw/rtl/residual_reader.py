"""Fetches the activations that a job adds to its outputs."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.numerics import ACTIVATION_BITS
from hw.contract.tables import TableKind
from hw.rtl.arbiter import QUEUE_DEPTH
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, table_write
from hw.rtl.output_walk import OutputWalk
from hw.rtl.queue import Queue
from hw.rtl.table_memory import TableMemory

ACTIVATION = stream.Signature(signed(ACTIVATION_BITS))


@dataclass
class _Place:
    """Where an activation lies; `fresh` where its word is not the one of the activation before."""

    valid: Signal
    fresh: Signal
    address: Signal
    byte: Signal


class ResidualReader(wiring.Component):
    """Reads one activation for every output of a job with `job.residual`, in the order of the outputs.

    Its place is the output's: byte `byte` of word residual_address + plane + first_pixel + pixel, by the REQUANTIZE row
    of the output channel. Outputs of a pixel that follow each other in one word share a request, of this one word.

    Parameters: `config`.

    Members: `job`; `start` begins, once all activations of the job before were taken; `table_write`; `read_request`,
    `read_data`; `activations` out.

    At most queues.residual activations are asked for and not yet taken, so that `read_data` always finds room.
    Throughput 1 activation a cycle, latency 6 cycles from `start` to the first request, 2 from word to activation; stalls
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
        m.submodules.due = due = Queue(len(table.row.byte) + 1, depth)
        m.submodules.fetched = fetched = Queue(signed(ACTIVATION_BITS), depth)
        wiring.connect(m, fetched.output, wiring.flipped(self.activations))

        advance, asked, given = Signal(), Signal(), Signal()
        place = self._places(m, table, walk, advance)
        room, following, some_room = Signal(range(depth + 1), init=depth), Signal(range(depth + 1)), Signal(init=1)
        # Requests have a queue of their own, so that nothing here waits for the arbiter in the same cycle.
        m.submodules.requests = requests = Queue(place.address.shape(), QUEUE_DEPTH)
        admitted = place.valid & some_room & due.input.ready & requests.input.ready
        m.d.comb += [
            walk.job.eq(self.job),
            walk.start.eq(self.start & self.job.residual),
            walk.base.eq(self.job.residual_address),
            walk.advance.eq(walk.active & advance),
            advance.eq(~place.valid | asked),
            requests.input.payload.eq(place.address),
            requests.input.valid.eq(admitted & place.fresh),
            self.read_request.payload.address.eq(requests.output.payload),
            self.read_request.payload.length.eq(1),
            self.read_request.valid.eq(requests.output.valid),
            requests.output.ready.eq(self.read_request.ready),
            asked.eq(admitted),
            due.input.payload.eq(Cat(place.byte, place.fresh)),
            due.input.valid.eq(asked),
            given.eq(self.activations.valid & self.activations.ready),
        ]
        m.d.comb += following.eq(room - asked + given)
        m.d.sync += [room.eq(following), some_room.eq(following != 0)]

        # Answer: words come back in the order of the requests.
        word, fresh, byte = Signal(WORD_BITS), due.output.payload[-1], due.output.payload[:-1]
        there = due.output.valid & (~fresh | self.read_data.valid)
        m.d.comb += [
            fetched.input.payload.eq(Mux(fresh, self.read_data.payload, word).word_select(byte, ACTIVATION_BITS)),
            fetched.input.valid.eq(there),
            self.read_data.ready.eq(due.output.valid & fresh & fetched.input.ready),
            due.output.ready.eq(there & fetched.input.ready),
        ]
        with m.If(self.read_data.valid & self.read_data.ready):
            m.d.sync += word.eq(self.read_data.payload)
        return m

    def _places(self, m: Module, table: TableMemory, walk: OutputWalk, advance: Signal) -> _Place:
        """Where the activation of each output lies: table row of its channel, then its registers, then the address."""
        found_valid, found_first, row_valid, row_first = (
            Signal(name=name) for name in ("found_valid", "found_first", "row_valid", "row_first")
        )
        found_pixel, row_pixel = Signal.like(walk.pixel_address), Signal.like(walk.pixel_address)
        plane, byte = Signal.like(table.row.plane), Signal.like(table.row.byte)
        place = _Place(Signal(), Signal(), Signal.like(walk.pixel_address), Signal.like(byte))
        same_plane, before = Signal(), Signal.like(plane)
        m.d.comb += [table.enable.eq(advance), table.half.eq(self.job.half), table.address.eq(walk.channel)]
        m.d.comb += same_plane.eq(plane == before)
        with m.If(advance):
            m.d.sync += [
                found_valid.eq(walk.active),
                found_first.eq(walk.channel == 0),
                found_pixel.eq(walk.pixel_address),
                row_valid.eq(found_valid),
                row_first.eq(found_first),
                row_pixel.eq(found_pixel),
                plane.eq(table.row.plane),
                byte.eq(table.row.byte),
                before.eq(plane),
                place.valid.eq(row_valid),
                place.fresh.eq(row_first | ~same_plane),
                place.address.eq(row_pixel + plane),
                place.byte.eq(byte),
            ]
        return place
