"""Turns the sums of a job's outputs into int8 activations, or 32-bit numbers, in external memory."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.numerics import ACTIVATION_BITS, MULTIPLIER_BITS, OUTPUT_ACCUMULATOR_BITS
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import round_addend, saturate
from hw.rtl.interfaces import JOB, PARTIAL, WRITE, struct, table_write
from hw.rtl.output_walk import OutputWalk
from hw.rtl.queue import Queue
from hw.rtl.residual_reader import ACTIVATION
from hw.rtl.table_memory import TableMemory

PIPELINE_CYCLES = 7
"""From an accepted sum to its activation at the output queue."""

_PRODUCT_BITS = OUTPUT_ACCUMULATOR_BITS + MULTIPLIER_BITS
_QUEUE_CYCLES_DEPTH = 3
"""Below this depth a queue cannot take a payload every cycle."""


class Requantizer(wiring.Component):
    """activation = saturate(round_shift((sum + bias) * multiplier, shift)), plus the residual, saturating, where there is one.

    Rounding and saturation as in hw.contract.numerics (requantize, add_residual); bias, multiplier, shift and the place in
    memory come from the REQUANTIZE row of the output channel. sum + bias must fit in 32 bits, as the exporter makes sure.
    With `job.relu` the activation is at least 0 before the residual is added. With `job.raw` sum + bias itself is the output.

    Parameters: `config`.

    Members: `job`; `start` begins, once the job before is `finished`; `table_write`; `sums` one for every output, pixels
    row-major in the band, channels within a pixel (see OutputWalk); `residual` one activation for every output in the same
    order, only of jobs with `job.residual`; `write` one byte for every output, four of jobs with `job.raw`; `finished` when all
    of them were accepted, until the next `start`.

    Latency PIPELINE_CYCLES + 2 cycles, throughput 1 output a cycle; the pipeline stops as a whole while the output queue
    is full or a residual is missing.
    """

    job: data.View
    start: Signal
    table_write: Any
    sums: stream.Interface
    residual: stream.Interface
    write: stream.Interface
    finished: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "table_write": In(table_write(config)),
                "sums": In(PARTIAL),
                "residual": In(ACTIVATION),
                "write": Out(WRITE),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        queue_depth = max(_QUEUE_CYCLES_DEPTH, self._config.queues.output)
        m.submodules.table = table = TableMemory(TableKind.REQUANTIZE, self._config)
        m.submodules.walk = walk = OutputWalk(self._config)
        m.submodules.writes = writes = Queue(struct(descriptor.WRITE), queue_depth)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        wiring.connect(m, writes.output, wiring.flipped(self.write))

        advance, accepted, leaving = Signal(), Signal(), Signal()
        valid = Signal(PIPELINE_CYCLES)
        in_flight = Signal(range(PIPELINE_CYCLES + queue_depth + 1))
        started = Signal()
        m.d.comb += [
            walk.job.eq(self.job),
            walk.start.eq(self.start),
            walk.base.eq(self.job.output_address),
            walk.advance.eq(accepted),
            table.enable.eq(advance),
            table.half.eq(self.job.half),
            table.address.eq(walk.channel),
            self.sums.ready.eq(advance & walk.active),
            accepted.eq(self.sums.valid & self.sums.ready),
            leaving.eq(self.write.valid & self.write.ready),
            self.finished.eq(started & ~self.start & ~walk.active & (in_flight == 0)),
        ]
        m.d.sync += [started.eq(started | self.start), in_flight.eq(in_flight + accepted - leaving)]
        with m.If(advance):
            m.d.sync += valid.eq((valid << 1) | accepted)

        result, address, byte = self._rescale(m, advance, table.row, walk.pixel_address)
        self._write(m, valid[-1], advance, result, address, byte, writes.input)
        return m

    def _rescale(self, m: Module, advance: Signal, row: Any, pixel: Value) -> tuple[Value, Value, Value]:
        """The pipeline from the sum to its activation; returns that, the word's address, and the byte in it.

        1: the sum waits for its table row. 2: and for that in registers. 3: bias. 4: product and what rounds it. 5: rounding.
        6: shift. 7: saturation.
        """
        bias, plane = _delayed(m, row.bias, 1, advance), _delayed(m, row.plane, 1, advance)
        multiplier, shift = _delayed(m, row.multiplier, 2, advance), _delayed(m, row.shift, 2, advance)
        sum_due, pixel_due = _delayed(m, self.sums.payload, 2, advance), _delayed(m, pixel, 2, advance)
        total = Signal(signed(OUTPUT_ACCUMULATOR_BITS))
        product, addend = Signal(signed(_PRODUCT_BITS)), Signal(_PRODUCT_BITS)
        # Only the sign of the product decides what rounds it, and it is the sum's (or the product is 0, and either will do).
        sign = Signal(signed(_PRODUCT_BITS))
        rounded, shifted = Signal(signed(_PRODUCT_BITS + 1)), Signal(signed(_PRODUCT_BITS + 1))
        result, saturated = Signal(signed(OUTPUT_ACCUMULATOR_BITS)), Signal(signed(ACTIVATION_BITS))
        m.d.comb += sign.eq(total)
        m.d.comb += saturated.eq(Mux(self.job.relu & shifted[-1], 0, saturate(shifted, ACTIVATION_BITS)))
        shift_due = _delayed(m, shift, 2, advance)
        address = Signal.like(pixel)
        with m.If(advance):
            m.d.sync += [
                total.eq(sum_due + bias),
                address.eq(pixel_due + plane),
                product.eq(total * multiplier),
                addend.eq(round_addend(sign, shift)),
                rounded.eq(product + addend),
                shifted.eq(rounded >> shift_due),
                result.eq(Mux(self.job.raw, shifted[:OUTPUT_ACCUMULATOR_BITS].as_signed(), saturated)),
            ]
        after_bias = PIPELINE_CYCLES - 3
        return result, _delayed(m, address, after_bias, advance), _delayed(m, row.byte, PIPELINE_CYCLES - 1, advance)

    def _write(
        self, m: Module, valid: Value, advance: Signal, result: Value, address: Value, byte: Value, output: stream.Interface
    ) -> None:
        """Last stage: add the residual and hand the byte, or the four of a raw output, to the output queue."""
        missing = self.job.residual & ~self.residual.valid
        activation = Signal(ACTIVATION_BITS)
        m.d.comb += [
            activation.eq(result),
            output.payload.address.eq(address),
            output.payload.data.eq(activation.replicate(CHANNELS_PER_WORD)),
            output.payload.strobe.eq(1 << byte),
            output.valid.eq(valid & ~missing),
            self.residual.ready.eq(valid & self.job.residual & output.ready),
            advance.eq(~valid | (output.ready & ~missing)),
        ]
        with m.If(self.job.residual):
            m.d.comb += activation.eq(saturate(result[:ACTIVATION_BITS].as_signed() + self.residual.payload, ACTIVATION_BITS))
        with m.If(self.job.raw):
            m.d.comb += [
                output.payload.data.eq(result.replicate(WORD_BITS // OUTPUT_ACCUMULATOR_BITS)),
                output.payload.strobe.eq(((1 << OUTPUT_ACCUMULATOR_BITS // ACTIVATION_BITS) - 1) << byte),
            ]


def _delayed(m: Module, value: Value, cycles: int, advance: Value) -> Value:
    """`value` of `cycles` pipeline steps ago."""
    for _ in range(cycles):
        following = Signal.like(value)
        with m.If(advance):
            m.d.sync += following.eq(value)
        value = following
    return value
