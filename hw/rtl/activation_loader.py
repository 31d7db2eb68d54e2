"""Fills the activation stores of a cluster's lanes from the input planes in external memory."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, ArchonConfig, index_bits
from hw.contract.descriptor import PIXEL_BITS
from hw.contract.numerics import ACTIVATION_BITS
from hw.rtl.burst import BurstRequester
from hw.rtl.interfaces import JOB, READ_DATA, READ_REQUEST, activation_write

WRITE_CYCLES = 2
"""From a word to the activation-write bus."""


class ActivationLoader(wiring.Component):
    """Reads a job's input planes, row by row, and routes their bytes to the lanes.

    Byte b of plane n holds channel c = 8 * n + b - first_byte; where the job has it, its pixel goes to lane c % lanes, row
    (c // lanes) * segment + pixel. A word is taken in 8 / lanes parts of `lanes` neighbouring bytes. The bytes of a part
    have the turn `turn` (which may lie outside the job) or, on the lanes that first_byte wraps around, the turn before.
    Image row by image row all planes are read, in bursts of a row of a plane.

    Parameters: `config`.

    Members: `job`; `start` begins, once the loader is done with the job before; `read_request`, `read_data`;
    `activation_write`; `rows_loaded` first image row of which not all activations were written, `done` when all of the job
    were, both from the cycle after `start` until the next one.

    Throughput 1 word every 8 / lanes cycles, latency 2 cycles; never stalls for another reason once it has begun.
    In jobs with residuals asks for a further row of a plane only when fewer than config.activation_words_ahead words are due.
    """

    job: data.View
    start: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    activation_write: Any
    rows_loaded: Signal
    done: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._lanes = config.lanes
        self._words_ahead = config.activation_words_ahead
        self._address_bits = index_bits(config.depths.activation)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "activation_write": Out(activation_write(config)),
                "rows_loaded": Out(DIMENSION_BITS),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._request_rows(m)
        lanes, parts = self._lanes, CHANNELS_PER_WORD // self._lanes
        segment = self.job.segment[: self._address_bits]
        # Where in the activation store the pixels of turn `turn` of the current part go: of this row in the first plane, in
        # this plane, of this word, of this part. Outside the job the numbers are never used.
        row_base, plane_base, pixel_address, address, next_pixel = (Signal(self._address_bits) for _ in range(5))
        # lanes * turn: channel of lane 0 in the first part of the first plane, of this plane, in this part.
        first_channel, plane_channel, channel, next_channel = (Signal(signed(DIMENSION_BITS + 2)) for _ in range(4))
        part, skipped_parts = Signal(range(parts)), Signal(range(parts))
        pixels_left, planes_left, rows_left = (Signal(DIMENSION_BITS) for _ in range(3))
        taken, word_ends, run_ends, row_ends = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            word_ends.eq(part == parts - 1),
            run_ends.eq(pixels_left == 1),
            row_ends.eq(run_ends & (planes_left == 1)),
            next_pixel.eq(pixel_address + 1),
            next_channel.eq(plane_channel),
        ]
        with m.If(row_ends):
            m.d.comb += [next_pixel.eq(row_base + self.job.input_width), next_channel.eq(first_channel)]
        with m.Elif(run_ends):
            m.d.comb += [next_pixel.eq(plane_base + segment * parts), next_channel.eq(plane_channel + CHANNELS_PER_WORD)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [row_base.eq(0), first_channel.eq(0), skipped_parts.eq(self.job.first_byte // lanes)]
                with m.If(self.start):
                    m.next = "SKIP"
            with m.State("SKIP"):
                m.d.sync += [Cat(plane_base, pixel_address, address).eq(row_base.replicate(3)), part.eq(0)]
                m.d.sync += [plane_channel.eq(first_channel), channel.eq(first_channel), rows_left.eq(self.job.input_rows)]
                m.d.sync += [pixels_left.eq(self.job.input_width), planes_left.eq(self.job.planes)]
                with m.If(skipped_parts == 0):
                    m.next = "WORDS"
                with m.Else():
                    m.d.sync += [skipped_parts.eq(skipped_parts - 1), row_base.eq(row_base - segment)]
                    m.d.sync += first_channel.eq(first_channel - lanes)
            with m.State("WORDS"):
                m.d.comb += [taken.eq(self.read_data.valid), self.read_data.ready.eq(word_ends)]
                with m.If(taken & ~word_ends):
                    m.d.sync += [part.eq(part + 1), address.eq(address + segment), channel.eq(channel + lanes)]
                with m.Elif(taken):
                    m.d.sync += [part.eq(0), address.eq(next_pixel), pixel_address.eq(next_pixel), channel.eq(next_channel)]
                    m.d.sync += pixels_left.eq(Mux(run_ends, self.job.input_width, pixels_left - 1))
                    with m.If(run_ends):
                        m.d.sync += [plane_base.eq(next_pixel), plane_channel.eq(next_channel)]
                        m.d.sync += planes_left.eq(Mux(row_ends, self.job.planes, planes_left - 1))
                    with m.If(row_ends):
                        m.d.sync += [row_base.eq(next_pixel), rows_left.eq(rows_left - 1)]
                        with m.If(rows_left == 1):
                            m.next = "IDLE"
        self._write(m, taken, part, address, channel)
        self._count_rows(m, taken & word_ends & row_ends)
        return m

    def _request_rows(self, m: Module) -> None:
        """Ask for `input_width` words of every plane, row after row, few bursts ahead where residuals wait behind them."""
        m.submodules.requester = requester = BurstRequester(DIMENSION_BITS)
        wiring.connect(m, wiring.flipped(self.read_request), requester.read_request)
        row_address, address = Signal.like(self.job.input_address), Signal.like(self.job.input_address)
        planes_left, rows_left = Signal(DIMENSION_BITS), Signal(DIMENSION_BITS)
        ahead = Signal(PIXEL_BITS)
        m.d.sync += ahead.eq(
            ahead + Mux(requester.start, self.job.input_width, 0) - (self.read_data.valid & self.read_data.ready)
        )
        m.d.comb += [
            requester.start.eq(requester.idle & (rows_left != 0) & (~self.job.residual | (ahead < self._words_ahead))),
            requester.restart.eq(1),
            requester.address.eq(address),
            requester.words.eq(self.job.input_width),
        ]
        with m.If(requester.start):
            m.d.sync += [address.eq(address + self.job.plane_words), planes_left.eq(planes_left - 1)]
            with m.If(planes_left == 1):
                m.d.sync += [planes_left.eq(self.job.planes), rows_left.eq(rows_left - 1)]
                m.d.sync += [row_address.eq(row_address + self.job.input_width), address.eq(row_address + self.job.input_width)]
        with m.If(self.start):
            m.d.sync += [row_address.eq(self.job.input_address), address.eq(self.job.input_address)]
            m.d.sync += [planes_left.eq(self.job.planes), rows_left.eq(self.job.input_rows)]

    def _count_rows(self, m: Module, row_taken: Value) -> None:
        """A row's last activation is written WRITE_CYCLES after it was taken."""
        written, rows_left = row_taken, Signal(DIMENSION_BITS)
        for _ in range(WRITE_CYCLES):
            register = Signal()
            m.d.sync += register.eq(written)
            written = register
        with m.If(written):
            m.d.sync += [self.rows_loaded.eq(self.rows_loaded + 1), rows_left.eq(rows_left - 1)]
        with m.If(self.start):
            m.d.sync += [self.rows_loaded.eq(self.job.input_row_start), rows_left.eq(self.job.input_rows)]
        m.d.comb += self.done.eq((rows_left == 0) & ~self.start)

    def _write(self, m: Module, taken: Signal, part: Signal, address: Signal, channel: Signal) -> None:
        """Register one part's bytes, then rotate them to their lanes, into the registers that drive the bus."""
        lanes, bus = self._lanes, self.activation_write
        rotation = self.job.first_byte % lanes
        part_taken, part_address, part_channel = Signal(), Signal.like(address), Signal.like(channel)
        part_bytes = Signal(lanes * ACTIVATION_BITS)
        m.d.sync += [
            part_taken.eq(taken),
            part_address.eq(address),
            part_channel.eq(channel),
            part_bytes.eq(self.read_data.payload.word_select(part, len(part_bytes))),
        ]
        rotated: Value = part_bytes
        for amount in range(1, lanes):
            rotated = Mux(rotation == amount, part_bytes.rotate_right(amount * ACTIVATION_BITS), rotated)
        segment = self.job.segment[: len(address)]
        for lane in range(lanes):
            wrapped = lane + rotation >= lanes
            turn_channel = Mux(wrapped, part_channel - lanes, part_channel)
            exists = (turn_channel >= 0) & (turn_channel + lane < self.job.input_channels)
            m.d.sync += [
                bus.enable[lane].eq(part_taken & exists),
                bus.address[lane].eq(Mux(wrapped, part_address - segment, part_address)),
                bus.data[lane].eq(rotated.word_select(lane, ACTIVATION_BITS)),
            ]
