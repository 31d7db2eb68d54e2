"""Drains banks of accumulators: multiplies their touched entries by activations and sums them per output channel."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import DIMENSION_BITS, ArchonConfig, index_bits
from hw.contract.taps import SMALL_TAPS, tap_places
from hw.rtl.accumulator import COUNTER_BITS
from hw.rtl.accumulator_bank import entry_port
from hw.rtl.interfaces import JOB, PARTIAL, lane_activation_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.queue import Queue
from hw.rtl.row_walker import walked_row

_PART_BITS = 2
"""Of a tap's number: one of the parts into which the choice of a tap is cut."""


class ActivationStore(wiring.Component):
    """The int8 activations of one lane's input channels: row turn * segment + pixel of the segment.

    Members: `write` the lane's part of the activation-write bus; `enable`, `address` start a read, `activation` is that
    row from the next cycle
    until the next read.
    """

    write: Any
    enable: Signal
    address: Signal
    activation: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "write": In(lane_activation_write(config)),
                "enable": In(1),
                "address": In(index_bits(config.depths.activation)),
                "activation": Out(signed(numerics.ACTIVATION_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = signed(numerics.ACTIVATION_BITS)
        m.submodules.storage = storage = memory.Memory(shape=shape, depth=self._config.depths.activation, init=[])
        write, read = storage.write_port(), storage.read_port()
        m.d.comb += [
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            read.en.eq(self.enable),
            read.addr.eq(self.address),
            self.activation.eq(read.data),
        ]
        return m


class WindowAddress(wiring.Component):
    """Activation-store addresses of the window around the current output pixel.

    Members: `job`, `start`; `next_turn` moves on to the next turn, `first_turn` back to the first, `next_pixel` to the
    next output pixel (row-major in the job's band); `base` is the address of the window's centre. `tap` chooses the position in
    the window around `centre`, which is a `base` of before; `address` follows in the same cycle. `inside` marks the window's
    taps that lie in the image, `last_pixel` the last pixel of the band; `there`: all activations under the window were written,
    by `rows_loaded`, the first image row of which some are missing, or as all of the job are `loaded`.

    With `job.channel_taps` taps are the lane's next channels, all of them inside, and a turn has SMALL_TAPS channels. With
    `job.depthwise` every output has a channel of its own: `first_turn`, the move to the next output, goes on a channel.
    """

    job: data.View
    start: Signal
    next_turn: Signal
    first_turn: Signal
    next_pixel: Signal
    rows_loaded: Signal
    loaded: Signal
    base: Signal
    centre: Signal
    tap: Signal
    address: Signal
    inside: Signal
    last_pixel: Signal
    there: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._bits, self._places = index_bits(config.depths.activation), tap_places(config.kernel)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "next_turn": In(1),
                "first_turn": In(1),
                "next_pixel": In(1),
                "rows_loaded": In(DIMENSION_BITS),
                "loaded": In(1),
                "base": Out(self._bits),
                "centre": In(self._bits),
                "tap": In(range(config.taps)),
                "address": Out(self._bits),
                "inside": Out(config.taps),
                "last_pixel": Out(1),
                "there": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        # All modulo 2**bits: a window's corner may lie before the segment, but such taps are never read.
        row_centre, centre, turned = (Signal(self._bits, name=name) for name in ("row_centre", "centre", "turned"))
        # What follows from the job alone comes from registers: it stands from `start` on.
        row_step, pixel_step, turn_step = (Signal(self._bits, name=name) for name in ("row_step", "pixel_step", "turn_step"))
        two_rows = job.input_width << 1
        m.d.sync += [
            row_step.eq(job.input_width << job.stride_two),
            pixel_step.eq(1 << job.stride_two),
            turn_step.eq(Mux(job.channel_taps, job.segment * SMALL_TAPS, job.segment)),
        ]
        offsets = [Signal(self._bits, name=f"offset{tap}") for tap in range(len(self._places))]
        for tap, ((dy, dx), offset) in enumerate(zip(self._places, offsets, strict=True)):
            pixel = {-2: -two_rows, -1: -job.input_width, 0: 0, 1: job.input_width, 2: two_rows}[dy] + dx
            m.d.sync += offset.eq(Mux(job.channel_taps, job.segment * tap, pixel) if tap < SMALL_TAPS else pixel)
        m.d.comb += [self.base.eq(turned), self.address.eq(self.centre + Array(offsets)[self.tap])]
        last_column, row = self._borders(m)
        self._wait_for_rows(m, row, last_column)
        with m.If(self.start):
            m.d.sync += [row_centre.eq(job.first_center), centre.eq(job.first_center), turned.eq(job.first_center)]
        with m.Elif(self.next_pixel):
            next_centre = Signal(self._bits)
            with m.If(last_column):
                m.d.comb += next_centre.eq(row_centre + row_step)
                m.d.sync += row_centre.eq(next_centre)
            with m.Else():
                m.d.comb += next_centre.eq(centre + pixel_step)
            m.d.sync += [centre.eq(next_centre), turned.eq(next_centre)]
        with m.Elif(self.first_turn):
            m.d.sync += turned.eq(Mux(job.depthwise, turned + job.segment, centre))
        with m.Elif(self.next_turn):
            m.d.sync += turned.eq(turned + turn_step)
        return m

    def _wait_for_rows(self, m: Module, row: Signal, last_column: Signal) -> None:
        """Registers, anew with every output row: the last input row under the window, and whether it is there."""
        lowest, old = Signal(DIMENSION_BITS + 2), Signal()
        reach = 1 + self.job.kernel_five if len(self._places) > SMALL_TAPS else Const(1)
        below = Mux(self.job.channel_taps, 0, reach)
        m.d.sync += [
            old.eq(self.start | (self.next_pixel & last_column)),
            lowest.eq((row << self.job.stride_two) + below),
            self.there.eq(((self.rows_loaded > lowest) | self.loaded) & ~old),
        ]
        with m.If(self.start | (self.next_pixel & last_column)):
            m.d.sync += self.there.eq(0)

    def _borders(self, m: Module) -> tuple[Signal, Signal]:
        """Walk the output pixels; registers say where a window ends at the image's borders.

        Returns: last of its row, the row.
        """
        job = self.job
        row, column, rows_left = (Signal.like(job.output_rows, name=name) for name in ("row", "column", "rows_left"))
        next_row, next_column = Signal.like(row), Signal.like(column)
        last_column, above, below, left, right = (
            Signal(name=name) for name in ("last_column", "above", "below", "left", "right")
        )
        rows, columns = {-1: above, 0: Const(1), 1: below}, {-1: left, 0: Const(1), 1: right}
        if len(self._places) > SMALL_TAPS:
            for distance, ends in ((-2, "before"), (2, "behind")):
                rows[distance], columns[distance] = Signal(name=f"row_{ends}"), Signal(name=f"column_{ends}")
        m.d.comb += [
            self.last_pixel.eq(last_column & (rows_left == 1)),
            next_column.eq(Mux(last_column | self.start, 0, column + 1)),
            next_row.eq(Mux(self.start, job.output_row_start, row + last_column)),
            self.inside.eq(Cat((rows[dy] & columns[dx]) | job.channel_taps for dy, dx in self._places)),
        ]
        with m.If(self.start | self.next_pixel):
            m.d.sync += [
                column.eq(next_column),
                last_column.eq(next_column == job.output_width - 1),
                row.eq(next_row),
                rows_left.eq(Mux(self.start, job.output_rows, rows_left - last_column)),
                above.eq(next_row != 0),
                below.eq((next_row << job.stride_two) != job.input_height - 1),
                left.eq(next_column != 0),
                right.eq((next_column << job.stride_two) != job.input_width - 1),
            ]
            if len(self._places) > SMALL_TAPS:
                for centre, size, inner in ((next_row, job.input_height, rows), (next_column, job.input_width, columns)):
                    m.d.sync += inner[-2].eq((centre << job.stride_two) > 1)
                    m.d.sync += inner[2].eq((centre << job.stride_two) + 2 < size)
        return last_column, row


class Multiplier(wiring.Component):
    """y[k] of one lane = bias[k] + sum over its turns t and touched taps d of A[k, t, d] * x[t, d], for k = 0, 1, ...

    Parameters: `config`.

    Members: `start` (resets the counter); `activation_write` fills the activation store; `rows` in, from RowWalker; `centre`,
    `tap` ask a WindowAddress for `address`; `entries[r][b]` reads bank b of adder row r; `released[b]` pulses when the last
    entry of bank b has been read; `partials` out, one per output channel; `multiplications` counts touched entries
    multiplied since `start`; `works` when one enters the pipeline, `blocked` while the first stage waits.

    Throughput one multiplication a cycle, without gaps between rows, outputs and pixels; an output channel without touched
    entries takes a cycle. Latency 8 cycles. Only the first stage waits, for a place in the queue of partial sums, which is
    taken ahead: what has left it cannot be stalled.
    """

    start: Signal
    activation_write: Any
    rows: stream.Interface
    centre: Signal
    tap: Signal
    address: Signal
    entries: list[list[Any]]
    released: Signal
    partials: stream.Interface
    multiplications: Signal
    works: Signal
    blocked: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        address = index_bits(config.depths.activation)
        super().__init__(
            {
                "start": In(1),
                "activation_write": In(lane_activation_write(config)),
                "rows": In(stream.Signature(walked_row(config))),
                "centre": Out(address),
                "tap": Out(range(config.taps)),
                "address": In(address),
                "entries": Out(entry_port(config)).array(config.adder_rows, config.pixel_tile),
                "released": Out(config.pixel_tile),
                "partials": Out(PARTIAL),
                "multiplications": Out(COUNTER_BITS),
                "works": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.activations = activations = ActivationStore(config)
        m.submodules.queue = queue = Queue(PARTIAL.create().payload.shape(), config.queues.partial)
        wiring.connect(m, wiring.flipped(self.activation_write), activations.write)
        wiring.connect(m, queue.output, wiring.flipped(self.partials))

        # Selection: one touched entry of the current row a cycle.
        row: Any = Signal(walked_row(config))
        valid, go, leave = Signal(), Signal(), Signal()
        rest = Signal(config.taps)  # of row.touched, all but the lowest
        places = config.queues.partial - 1  # a queue may refuse the last one
        room, closes = Signal(range(places + 1), init=places), Signal()
        m.d.comb += [
            go.eq(valid & ((room != 0) | ~row.last)),
            leave.eq(go & (rest == 0)),
            closes.eq(leave & row.last),
            self.rows.ready.eq(~valid | leave),
            self.works.eq(go & (row.touched != 0)),
            self.blocked.eq(valid & ~go),
        ]
        m.d.sync += room.eq(room - closes + (self.partials.valid & self.partials.ready))
        following = self.rows.payload.touched
        with m.If(self.rows.ready):
            m.d.sync += [row.eq(self.rows.payload), rest.eq(following & (following - 1)), valid.eq(self.rows.valid)]
        with m.Elif(go):
            m.d.sync += [row.touched.eq(rest), rest.eq(rest & (rest - 1))]

        # Read: the entry's row, and the activation's address.
        read: Any = Signal(walked_row(config))
        reads, read_closes, read_ends = (Signal(name=name) for name in ("reads", "read_closes", "read_ends"))
        lowest = row.touched & ~rest
        for bit in range(len(self.tap)):
            m.d.sync += self.tap[bit].eq(Cat(lowest[tap] for tap in range(config.taps) if tap >> bit & 1).any())
        m.d.sync += [
            read.eq(row),
            reads.eq(self.works),
            read_closes.eq(closes),
            read_ends.eq(leave & row.ends),
        ]
        m.d.comb += self.centre.eq(read.centre)
        for banks in self.entries:
            for port in banks:
                m.d.comb += port.row.eq(row.row)
        m.d.comb += [self.released[index].eq(read_ends & (read.bank == index)) for index in range(config.pixel_tile)]
        self._multiply(m, activations, queue, read, reads, read_closes)
        return m

    def _multiply(
        self, m: Module, activations: ActivationStore, queue: Queue, read: Any, reads: Signal, closes: Signal
    ) -> None:
        """Entries of the bank; the one that is meant, in two steps; product, running sum, bias; the activation comes beside."""
        shape, taps, place = signed(self._config.widths.accumulator), self._config.taps, Cat(read.bank, read.adder_row)
        entries: Any = Signal(data.ArrayLayout(shape, taps), name="entries_of_bank")
        m.d.sync += entries.eq(Array(port.entries for rows in self.entries for port in rows)[place])
        low, high = delay(m, self.tap[:_PART_BITS], 1), delay(m, self.tap[_PART_BITS:], 2)
        chosen = [Signal(shape, name="entry_of_part") for _ in range(0, taps, 1 << _PART_BITS)]
        for index, entry_of_part in enumerate(chosen):
            part = range(index << _PART_BITS, min((index + 1) << _PART_BITS, taps))
            m.d.sync += entry_of_part.eq(Array(entries[tap] for tap in part)[low])
        entry, activation = Signal(shape), Signal.like(activations.activation)
        product = Signal(signed(self._config.widths.accumulator + numerics.ACTIVATION_BITS))
        running, total = (Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS), name=name) for name in ("running", "total"))
        m.d.comb += activations.enable.eq(1)
        m.d.sync += [
            activations.address.eq(self.address),
            entry.eq(Array(chosen)[high]),
            activation.eq(activations.activation),
        ]
        multiplies, closed = (delay_flags(m, flag, 5, self.start) for flag in (reads, closes))
        m.d.sync += [
            product.eq(Mux(multiplies[3], entry * activation, 0)),
            total.eq(running + product),
            running.eq(Mux(closed[4], 0, running + product)),
        ]
        m.d.comb += [
            queue.input.payload.eq(total + delay(m, read.bias, 5)),
            queue.input.valid.eq(closed[5]),
        ]
        with m.If(self.start):
            m.d.sync += self.multiplications.eq(0)
        with m.Elif(multiplies[4]):
            m.d.sync += self.multiplications.eq(self.multiplications + 1)
