"""Drains a bank of accumulators: multiplies its touched entries by activations and sums them per output channel."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import KERNEL, TAPS, ArchonConfig, index_bits
from hw.rtl.accumulator import COUNTER_BITS
from hw.rtl.accumulator_bank import bank_port
from hw.rtl.arithmetic import lowest_bit
from hw.rtl.interfaces import JOB, PARTIAL, lane_activation_write


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
    next output pixel (row-major in the job's band); `tap` chooses the window position, `address` follows in the same cycle;
    `inside` marks the window's taps that lie in the image, `last_pixel` the last pixel of the band.

    With `job.channel_taps` taps are the lane's next channels, all of them inside, and a turn has TAPS channels. With
    `job.depthwise` every output has a channel of its own: `first_turn`, the move to the next output, goes on a channel.
    """

    job: data.View
    start: Signal
    next_turn: Signal
    first_turn: Signal
    next_pixel: Signal
    tap: Signal
    address: Signal
    inside: Signal
    last_pixel: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._bits = index_bits(config.depths.activation)
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "next_turn": In(1),
                "first_turn": In(1),
                "next_pixel": In(1),
                "tap": In(range(TAPS)),
                "address": Out(self._bits),
                "inside": Out(TAPS),
                "last_pixel": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        # All modulo 2**bits: a window's corner may lie before the segment, but such taps are never read.
        row_centre, centre, turned = (Signal(self._bits, name=name) for name in ("row_centre", "centre", "turned"))
        row_step = Mux(job.stride_two, job.input_width << 1, job.input_width)
        offsets = [Signal(self._bits, name=f"offset{tap}") for tap in range(TAPS)]
        for tap, offset in enumerate(offsets):
            dy, dx = tap // KERNEL - KERNEL // 2, tap % KERNEL - KERNEL // 2
            pixel = {-1: -job.input_width, 0: 0, 1: job.input_width}[dy] + dx
            m.d.comb += offset.eq(Mux(job.channel_taps, job.segment * tap, pixel))
        m.d.comb += self.address.eq(turned + Array(offsets)[self.tap])
        last_column = self._borders(m)
        with m.If(self.start):
            m.d.sync += [row_centre.eq(job.first_center), centre.eq(job.first_center), turned.eq(job.first_center)]
        with m.Elif(self.next_pixel):
            next_centre = Signal(self._bits)
            with m.If(last_column):
                m.d.comb += next_centre.eq(row_centre + row_step)
                m.d.sync += row_centre.eq(next_centre)
            with m.Else():
                m.d.comb += next_centre.eq(centre + Mux(job.stride_two, 2, 1))
            m.d.sync += [centre.eq(next_centre), turned.eq(next_centre)]
        with m.Elif(self.first_turn):
            m.d.sync += turned.eq(Mux(job.depthwise, turned + job.segment, centre))
        with m.Elif(self.next_turn):
            m.d.sync += turned.eq(turned + Mux(job.channel_taps, job.segment * TAPS, job.segment))
        return m

    def _borders(self, m: Module) -> Signal:
        """Walk the output pixels; registers say where a window ends at the image's borders. Returns: last of its row."""
        job = self.job
        row, column, rows_left = (Signal.like(job.output_rows, name=name) for name in ("row", "column", "rows_left"))
        next_row, next_column = Signal.like(row), Signal.like(column)
        last_column, above, below, left, right = (
            Signal(name=name) for name in ("last_column", "above", "below", "left", "right")
        )
        rows = (above, Const(1), below)
        m.d.comb += [
            last_column.eq(column == job.output_width - 1),
            self.last_pixel.eq(last_column & (rows_left == 1)),
            next_column.eq(Mux(last_column | self.start, 0, column + 1)),
            next_row.eq(Mux(self.start, job.output_row_start, row + last_column)),
            self.inside.eq(
                Cat(bit | job.channel_taps for inner in rows for bit in (inner & left, inner, inner & right)),
            ),
        ]
        with m.If(self.start | self.next_pixel):
            m.d.sync += [
                column.eq(next_column),
                row.eq(next_row),
                rows_left.eq(Mux(self.start, job.output_rows, rows_left - last_column)),
                above.eq(next_row != 0),
                below.eq((next_row << job.stride_two) != job.input_height - 1),
                left.eq(next_column != 0),
                right.eq((next_column << job.stride_two) != job.input_width - 1),
            ]
        return last_column


class Multiplier(wiring.Component):
    """y[k] of one lane = bias[k] + sum over its turns t and touched taps d of A[k, t, d] * x[t, d], for k = 0, 1, ...

    Taps outside the image do not count as touched. In a job with `job.fixed` the bank serves all pixels of the job, one after
    the other, and is not cleared.

    Members: `job`, `start` (resets position and counter); `activation_write` fills the activation store; `begin` starts
    draining the bank at `bank`, `busy` is high from the next cycle until its last row has been read and cleared, for the last
    pixel in a fixed job; `partials` out, one per output channel; `multiplications` counts touched entries multiplied since
    `start`.

    Throughput: one multiplication, or one row without touched entries, a cycle. Latency 3 cycles from entry to sum. Stalls
    with `partials`.
    """

    job: data.View
    start: Signal
    activation_write: Any
    begin: Signal
    busy: Signal
    bank: Any
    partials: stream.Interface
    multiplications: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "start": In(1),
                "activation_write": In(lane_activation_write(config)),
                "begin": In(1),
                "busy": Out(1),
                "bank": Out(bank_port(config)),
                "partials": Out(PARTIAL),
                "multiplications": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, job, bank = self._config, self.job, self.bank
        m.submodules.activations = activations = ActivationStore(config)
        m.submodules.window = window = WindowAddress(config)
        wiring.connect(m, wiring.flipped(self.activation_write), activations.write)
        m.d.comb += [window.job.eq(job), window.start.eq(self.start)]

        # Selection: one touched entry of the current row a cycle.
        address, output = Signal(index_bits(config.depths.accumulator)), Signal(index_bits(config.depths.output))
        turn = Signal.like(job.turns)
        visited, allowed, left, lowest = Signal(TAPS), Signal(TAPS), Signal(TAPS), Signal(TAPS)
        found, leave, last_turn, last_output, advance = Signal(), Signal(), Signal(), Signal(), Signal()
        tap = Signal(range(TAPS))
        m.d.comb += [
            bank.address.eq(address),
            bank.output.eq(output),
            left.eq(bank.touched & allowed),
            allowed.eq(~visited & window.inside),
            lowest.eq(lowest_bit(left)),
            found.eq(left != 0),
            leave.eq(self.busy & advance & ((left & ~lowest) == 0)),
            last_turn.eq(turn == job.turns - 1),
            last_output.eq(output == job.output_channels - 1),
            bank.clear_taps.eq(leave & ~job.fixed),
            bank.write_bias.eq(leave & last_turn & ~job.fixed),
            bank.new_bias.eq(0),
            window.tap.eq(tap),
            window.next_turn.eq(leave & ~last_turn),
            window.first_turn.eq(leave & last_turn & ~last_output),
            window.next_pixel.eq(leave & last_turn & last_output),
            activations.enable.eq(advance),
            activations.address.eq(window.address),
        ]
        for index in range(TAPS):
            with m.If(lowest[index]):
                m.d.comb += tap.eq(index)
        with m.If(leave):
            m.d.sync += visited.eq(0)
            with m.If(~last_turn):
                m.d.sync += [turn.eq(turn + 1), address.eq(address + job.output_channels)]
            with m.Elif(~last_output):
                m.d.sync += [turn.eq(0), output.eq(output + 1), address.eq(output + 1)]
            with m.Else():
                m.d.sync += [self.busy.eq(job.fixed & ~window.last_pixel), turn.eq(0), output.eq(0), address.eq(0)]
        with m.Elif(self.busy & advance):
            m.d.sync += visited.eq(visited | lowest)
        with m.If(self.begin):
            m.d.sync += [self.busy.eq(1), visited.eq(0), turn.eq(0), output.eq(0), address.eq(0)]

        self._multiply(m, advance, found & self.busy, leave & last_turn, Array(bank.entries)[tap])
        return m

    def _multiply(self, m: Module, advance: Signal, multiply: Value, last: Value, entry: Value) -> None:
        """Entry and activation registers, product register, running sum; `last` closes an output channel."""
        activation = m.submodules.activations.activation
        entry_valid, entry_last, product_last = Signal(), Signal(), Signal()
        entry_register = Signal(signed(self._config.widths.accumulator))
        product = Signal(signed(self._config.widths.accumulator + numerics.ACTIVATION_BITS))
        entry_bias, product_bias, running = (
            Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS), name=name) for name in ("entry_bias", "product_bias", "running")
        )
        total = Signal(signed(numerics.OUTPUT_ACCUMULATOR_BITS))
        m.d.comb += [
            total.eq(running + product),
            self.partials.payload.eq(total + product_bias),
            self.partials.valid.eq(product_last),
            advance.eq(~product_last | self.partials.ready),
        ]
        with m.If(advance):
            m.d.sync += [
                entry_valid.eq(multiply),
                entry_last.eq(last),
                entry_register.eq(entry),
                entry_bias.eq(self.bank.bias),
                product.eq(Mux(entry_valid, entry_register * activation, 0)),
                product_last.eq(entry_last),
                product_bias.eq(entry_bias),
                running.eq(Mux(product_last, 0, total)),
            ]
        with m.If(self.start):
            m.d.sync += self.multiplications.eq(0)
        with m.Elif(advance & entry_valid):
            m.d.sync += self.multiplications.eq(self.multiplications + 1)
