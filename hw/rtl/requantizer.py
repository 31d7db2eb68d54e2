"""Turns the sums of a job's outputs into int8 activations, or 32-bit numbers, in external memory."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import descriptor
from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig
from hw.contract.layout import WORD_BITS
from hw.contract.numerics import ACTIVATION_BITS, MULTIPLIER_BITS, OUTPUT_ACCUMULATOR_BITS
from hw.contract.tables import TableKind
from hw.rtl.arithmetic import round_addend, saturate
from hw.rtl.interfaces import JOB, OUTPUT_WRITE, PARTIAL, struct, table_write
from hw.rtl.output_walk import OutputWalk
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.reserved_queue import ReservedQueue
from hw.rtl.residual_reader import ACTIVATION
from hw.rtl.table_memory import TableMemory

PIPELINE_CYCLES = 10
"""From an accepted sum to its activation at the output queue."""

OUTPUTS_AHEAD = 7
"""Places of the output queue that are taken from acceptance to the pipeline's end and until they are known to be free again,
besides one for each pipeline step."""

_PRODUCT_BITS = OUTPUT_ACCUMULATOR_BITS + MULTIPLIER_BITS
_LOW_BITS = 17
"""Of a sum: what a multiplier of 18 x 18 signed bits takes as a number without sign."""
_COARSE = 3
"""Bits of a shift below its multiples of 8."""


def queue_depth(config: ArchonConfig) -> int:
    """Outputs under way or waiting for memory."""
    return max(PIPELINE_CYCLES + OUTPUTS_AHEAD, config.queues.output)


class Requantizer(wiring.Component):
    """activation = saturate(round_shift((sum + bias) * multiplier, shift)), plus the residual, saturating, where there is one.

    Rounding and saturation as in hw.contract.numerics (requantize, add_residual); bias, multiplier, shift and the place in
    memory come from the REQUANTIZE row of the output channel. sum + bias must fit in 32 bits, as the exporter makes sure.
    With `job.relu` the activation is at least 0 before the residual is added. With `job.raw` sum + bias itself is the output.

    Parameters: `config`.

    Members: `job`; `start` begins, once the job before is `finished`; `table_write`; `sums` one for every output, pixels
    row-major in the band, channels within a pixel (see OutputWalk); `residual` one activation for every output in the same
    order, only of jobs with `job.residual`, taken with the sum; `write` one byte for every output, four of jobs with `job.raw`;
    `finished` when all of them were accepted, until the next `start`.

    Latency PIPELINE_CYCLES + 2 cycles, throughput 1 output a cycle. Only acceptance waits, for a place in the output queue and
    for the residual.
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
                "write": Out(OUTPUT_WRITE),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = TableMemory(TableKind.REQUANTIZE, self._config)
        m.submodules.walk = walk = OutputWalk(self._config)
        m.submodules.writes = output = ReservedQueue(struct(descriptor.OUTPUT_WRITE), queue_depth(self._config))
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        wiring.connect(m, output.output, wiring.flipped(self.write))

        accepts, accepted, started = Signal(), Signal(), Signal()
        valid = delay_flags(m, accepted, PIPELINE_CYCLES, Const(0))
        m.d.comb += [
            walk.job.eq(self.job),
            walk.start.eq(self.start),
            walk.base.eq(self.job.output_address),
            walk.advance.eq(accepted),
            table.enable.eq(1),
            table.half.eq(self.job.half),
            table.address.eq(walk.channel),
            accepts.eq(walk.active & output.free & (~self.job.residual | self.residual.valid)),
            self.sums.ready.eq(accepts),
            accepted.eq(accepts & self.sums.valid),
            self.residual.ready.eq(accepted & self.job.residual),
            self.finished.eq(started & ~self.start & ~walk.active & output.empty),
            output.take.eq(accepted),
            output.enter.eq(valid[-1]),
        ]
        m.d.sync += started.eq(started | self.start)
        activation, address, byte = self._rescale(m, table.row, walk.pixel_address)
        # Compared with the last one a cycle before it leaves, so that whoever combines writes need not.
        last, follows = Signal.like(address), Signal()
        m.d.sync += follows.eq(address == last)
        with m.If(valid[-2]):
            m.d.sync += last.eq(address)
        m.d.comb += [output.payload.address.eq(delay(m, address, 1)), output.payload.follows.eq(follows)]
        with m.If(self.job.raw):
            m.d.comb += [
                output.payload.data.eq(activation.replicate(WORD_BITS // OUTPUT_ACCUMULATOR_BITS)),
                output.payload.strobe.eq(((1 << OUTPUT_ACCUMULATOR_BITS // ACTIVATION_BITS) - 1) << byte),
            ]
        with m.Else():
            m.d.comb += [
                output.payload.data.eq(activation[:ACTIVATION_BITS].replicate(CHANNELS_PER_WORD)),
                output.payload.strobe.eq(1 << byte),
            ]
        return m

    def _rescale(self, m: Module, row: Any, pixel: Value) -> tuple[Value, Value, Value]:
        """The pipeline from the sum to its activation; returns that, the word's address a cycle earlier, and the byte in it.

        1: the sum waits for its table row. 2: and for that in registers. 3: bias. 4: products with both parts of the sum, and
        what rounds. 5: product. 6: rounding. 7, 8: shift. 9: saturation. 10: residual.
        """
        bias, plane, multiplier, shift = (delay(m, value, 1) for value in (row.bias, row.plane, row.multiplier, row.shift))
        total = Signal(signed(OUTPUT_ACCUMULATOR_BITS))
        low, high = Signal(signed(_LOW_BITS + 1 + MULTIPLIER_BITS)), Signal(signed(_PRODUCT_BITS - _LOW_BITS))
        product, addend = Signal(signed(_PRODUCT_BITS)), Signal(_PRODUCT_BITS)
        # Only the sign of the product decides what rounds it, and it is the sum's (or the product is 0, and either will do).
        sign = Signal(signed(_PRODUCT_BITS))
        rounded, coarse, shifted = (Signal(signed(_PRODUCT_BITS + 1), name=name) for name in ("rounded", "coarse", "shifted"))
        result = Signal(signed(OUTPUT_ACCUMULATOR_BITS))
        saturated, added = Signal(signed(ACTIVATION_BITS)), Signal(signed(OUTPUT_ACCUMULATOR_BITS))
        shift_due = delay(m, shift, 1)
        factor = delay(m, multiplier, 1)
        coarse_due, fine_due = delay(m, shift_due[_COARSE:], 3), delay(m, shift_due[:_COARSE], 4)
        residual = delay(m, self.residual.payload, PIPELINE_CYCLES - 1)
        m.d.comb += [
            sign.eq(total),
            saturated.eq(Mux(self.job.relu & shifted[-1], 0, saturate(shifted, ACTIVATION_BITS))),
        ]
        m.d.sync += [
            total.eq(delay(m, self.sums.payload, 2) + bias),
            low.eq(total[:_LOW_BITS] * factor),
            high.eq(total[_LOW_BITS:].as_signed() * factor),
            addend.eq(round_addend(sign, shift_due)),
            product.eq((high << _LOW_BITS) + low),
            rounded.eq(product + delay(m, addend, 1)),
            coarse.eq(rounded >> (coarse_due << _COARSE)),
            shifted.eq(coarse >> fine_due),
            result.eq(Mux(self.job.raw, shifted[:OUTPUT_ACCUMULATOR_BITS].as_signed(), saturated)),
            added.eq(result),
        ]
        with m.If(self.job.residual):
            m.d.sync += added.eq(saturate(result[:ACTIVATION_BITS].as_signed() + residual, ACTIVATION_BITS))
        address = Signal.like(pixel)
        m.d.sync += address.eq(delay(m, pixel, 2) + plane)
        return added, delay(m, address, PIPELINE_CYCLES - 4), delay(m, row.byte, PIPELINE_CYCLES - 1)
