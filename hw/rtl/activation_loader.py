"""Fills the activation stores of a cluster's lanes from the input planes in external memory."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, ArchonConfig, index_bits
from hw.contract.descriptor import PIXEL_BITS
from hw.contract.numerics import ACTIVATION_BITS
from hw.rtl.burst import BurstRequester
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, activation_write


class ActivationLoader(wiring.Component):
    """Reads a job's input planes and routes their bytes to the lanes.

    Byte b of plane n holds channel c = 8 * n + b - first_byte; where the job has it, its pixel goes to lane c % lanes, row
    (c // lanes) * segment + pixel. A word is taken in 8 / lanes parts of `lanes` neighbouring bytes. The bytes of a part
    have the turn `turn` (which may lie outside the job) or, on the lanes that first_byte wraps around, the turn before.

    Parameters: `config`.

    Members: `job`; `start` begins, once the loader is done with the job before; `read_request`, `read_data`;
    `activation_write`; `done` from the cycle after the last activation was written until the next `start`.

    Throughput 1 word every 8 / lanes cycles, latency 1 cycle; never stalls for another reason once it has begun.
    """

    job: data.View
    start: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    activation_write: Any
    done: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._lanes = config.lanes
        self._address_bits = index_bits(config.depths.activation)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "activation_write": Out(activation_write(config)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._request_planes(m)

        lanes, parts = self._lanes, CHANNELS_PER_WORD // self._lanes
        segment = self.job.segment[: self._address_bits]
        # Rows of turn `turn` in the activation store begin here; outside the job the number is never used.
        plane_base, pixel_address, address = (Signal(self._address_bits) for _ in range(3))
        # lanes * turn: channel of lane 0 in the first part of this plane, in this part.
        plane_channel, channel = Signal(signed(DIMENSION_BITS + 2)), Signal(signed(DIMENSION_BITS + 2))
        skipped_parts = Signal(range(parts))
        part = Signal(range(parts))
        pixel, planes_left = Signal(PIXEL_BITS), Signal(DIMENSION_BITS)
        taken, word_ends, plane_ends, ending = Signal(), Signal(), Signal(), Signal()
        finished = Signal()
        m.d.comb += [
            word_ends.eq(part == parts - 1),
            plane_ends.eq(pixel == self.job.segment - 1),
            self.done.eq(finished & ~self.start),
        ]
        m.d.sync += ending.eq(0)
        with m.If(ending):
            m.d.sync += finished.eq(1)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        skipped_parts.eq(self.job.first_byte // lanes),
                        plane_base.eq(0),
                        plane_channel.eq(0),
                        planes_left.eq(self.job.planes),
                        finished.eq(0),
                    ]
                    m.next = "SKIP"
            with m.State("SKIP"):
                with m.If(skipped_parts == 0):
                    m.next = "PLANE"
                with m.Else():
                    m.d.sync += [
                        skipped_parts.eq(skipped_parts - 1),
                        plane_base.eq(plane_base - segment),
                        plane_channel.eq(plane_channel - lanes),
                    ]
            with m.State("PLANE"):
                m.d.sync += [pixel_address.eq(plane_base), address.eq(plane_base), channel.eq(plane_channel)]
                m.d.sync += [part.eq(0), pixel.eq(0), planes_left.eq(planes_left - 1)]
                m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [taken.eq(self.read_data.valid), self.read_data.ready.eq(word_ends)]
                with m.If(taken & ~word_ends):
                    m.d.sync += [part.eq(part + 1), address.eq(address + segment), channel.eq(channel + lanes)]
                with m.Elif(taken):
                    m.d.sync += [
                        part.eq(0),
                        pixel.eq(pixel + 1),
                        pixel_address.eq(pixel_address + 1),
                        address.eq(pixel_address + 1),
                        channel.eq(plane_channel),
                    ]
                    with m.If(plane_ends):
                        m.d.sync += [
                            plane_base.eq(plane_base + segment * parts),
                            plane_channel.eq(plane_channel + CHANNELS_PER_WORD),
                        ]
                        m.next = "PLANE"
                        with m.If(planes_left == 0):
                            m.d.sync += ending.eq(1)
                            m.next = "IDLE"
        self._write(m, taken, part, address, channel)
        return m

    def _request_planes(self, m: Module) -> None:
        """Ask for `segment` words of every plane; independent of how fast the words are taken."""
        m.submodules.requester = requester = BurstRequester(PIXEL_BITS)
        wiring.connect(m, wiring.flipped(self.read_request), requester.read_request)
        plane_address = Signal.like(self.job.input_address)
        planes_left = Signal(DIMENSION_BITS)
        with m.If(self.start):
            m.d.sync += [plane_address.eq(self.job.input_address), planes_left.eq(self.job.planes)]
        with m.Elif(requester.idle & (planes_left != 0)):
            m.d.sync += [plane_address.eq(plane_address + self.job.plane_words), planes_left.eq(planes_left - 1)]
            m.d.comb += requester.start.eq(1)
        m.d.comb += [
            requester.restart.eq(1),
            requester.address.eq(plane_address),
            requester.words.eq(self.job.segment),
        ]

    def _write(self, m: Module, taken: Signal, part: Signal, address: Signal, channel: Signal) -> None:
        """Rotate one part's bytes to their lanes, into the registers that drive the bus."""
        lanes, bus = self._lanes, self.activation_write
        rotation = self.job.first_byte % lanes
        part_bytes = self.read_data.payload.word_select(part, lanes * ACTIVATION_BITS)
        rotated = part_bytes.rotate_right(0)
        for amount in range(1, lanes):
            rotated = Mux(rotation == amount, part_bytes.rotate_right(amount * ACTIVATION_BITS), rotated)
        segment = self.job.segment[: len(address)]
        for lane in range(lanes):
            wrapped = lane + rotation >= lanes
            turn_channel = Mux(wrapped, channel - lanes, channel)
            exists = (turn_channel >= 0) & (turn_channel + lane < self.job.input_channels)
            m.d.sync += [
                bus.enable[lane].eq(taken & exists),
                bus.address[lane].eq(Mux(wrapped, address - segment, address)),
                bus.data[lane].eq(rotated.word_select(lane, ACTIVATION_BITS)),
            ]
