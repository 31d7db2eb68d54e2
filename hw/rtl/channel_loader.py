"""First half of a slice of a table segment: the channels' records and steps."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import STEP_COUNT_BITS, adder_row_bits, bias_record, channel_record, step_row
from hw.contract.taps import SMALL_KERNEL, SMALL_TAPS
from hw.rtl.interfaces import READ_DATA, struct
from hw.rtl.packed_reader import PackedReader
from hw.rtl.record_reader import RecordReader


def channel_row(config: ArchonConfig) -> data.StructLayout:
    """What the pairs of an expanded channel have in common: D, and where each lane has its steps, by adder row."""
    return data.StructLayout(
        {
            "weights": data.ArrayLayout(signed(config.widths.weight), config.taps),
            "step_start": data.ArrayLayout(step_places(config), config.lanes),
        }
    )


def step_places(config: ArchonConfig) -> data.ArrayLayout:
    """A row of the step table of each adder row."""
    return data.ArrayLayout(index_bits(config.part_of_row(config.depths.step)), config.adder_rows)


def step_counts(config: ArchonConfig) -> data.ArrayLayout:
    """Steps of an expanded channel in each adder row."""
    return data.ArrayLayout(STEP_COUNT_BITS, config.adder_rows)


class ChannelLoader(wiring.Component):
    """Takes the channels of a slice off the stream, one after the other; hands on records and steps.

    Parameters: `config`.

    Members: `kernel_five` as in the job's descriptor; `restart` begins with the first row of all STEP tables; `begin` a slice;
    `words` in; `done` in the cycle in which the slice's last channel is complete; `channel` its number in the slice, `row` its
    record while `row_valid`, `bias` its bias record while `bias_valid`; while `counts_valid`, `counts` are the steps of channel
    `counted`; `step` goes to the lanes of the mask `step_lanes`, row `step_rows[lane]`.

    Throughput one word of a record or one step a cycle; stalls with `words`.
    """

    kernel_five: Signal
    restart: Signal
    begin: Signal
    words: stream.Interface
    done: Signal
    channel: Signal
    row: Any
    row_valid: Signal
    bias: Any
    bias_valid: Signal
    counted: Signal
    counts: Any
    counts_valid: Signal
    step: Signal
    step_lanes: Signal
    step_rows: Any

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "kernel_five": In(1),
                "restart": In(1),
                "begin": In(1),
                "words": In(READ_DATA),
                "done": Out(1),
                "channel": Out(range(config.slice_channels)),
                "row": Out(channel_row(config)),
                "row_valid": Out(1),
                "bias": Out(struct(bias_record(config))),
                "bias_valid": Out(1),
                "counted": Out(range(config.slice_channels)),
                "counts": Out(step_counts(config)),
                "counts_valid": Out(1),
                "step": Out(step_row(config).width),
                "step_lanes": Out(config.lanes),
                "step_rows": Out(data.ArrayLayout(index_bits(config.part_of_row(config.depths.step)), config.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, words = self._config, self.words
        m.submodules.records = records = RecordReader(channel_record(config), channel_record(config, SMALL_KERNEL))
        m.submodules.biases = biases = RecordReader(bias_record(config))
        m.submodules.steps = steps = PackedReader(step_row(config))
        last_step, steps_left = Signal(), Signal(STEP_COUNT_BITS)
        m.d.comb += [
            records.short.eq(~self.kernel_five),
            self.row_valid.eq(records.valid),
            self.bias.eq(biases.record),
            self.bias_valid.eq(biases.valid),
            self.step.eq(steps.row),
            steps.restart.eq(self.restart),
            last_step.eq(steps_left == 1),
        ]
        for tap, weight in enumerate(records.record.weights):
            m.d.comb += self.row.weights[tap].eq(weight if tap < SMALL_TAPS else Mux(self.kernel_five, weight, 0))
        for reader in (records, biases, steps):
            m.d.comb += [reader.words.payload.eq(words.payload), reader.words.valid.eq(words.valid)]

        m.d.sync += self.counts_valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.d.sync += self.channel.eq(0)
                    m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += [records.enable.eq(1), words.ready.eq(records.words.ready)]
                with m.If(records.valid):
                    m.d.sync += steps_left.eq(records.record.step_count)
                    with m.If(records.record.has_bias):
                        m.next = "BIAS"
                    with m.Elif(records.record.step_count != 0):
                        m.next = "STEPS"
                    with m.Else():
                        self._complete(m)
            with m.State("BIAS"):
                m.d.comb += [biases.enable.eq(1), words.ready.eq(biases.words.ready)]
                with m.If(biases.valid):
                    m.next = "STEPS"
            with m.State("STEPS"):
                m.d.comb += [steps.enable.eq(1), words.ready.eq(steps.words.ready)]
                with m.If(steps.valid):
                    m.d.comb += self.step_lanes.eq(records.kept.lanes)
                    m.d.sync += steps_left.eq(steps_left - 1)
                    with m.If(last_step):
                        self._complete(m)
        self._place_steps(m, records.valid)
        return m

    def _place_steps(self, m: Module, new_channel: Signal) -> None:
        """Where the steps go: registers hold the next row of every STEP table and the channel's steps so far."""
        config = self._config
        low_bits = adder_row_bits(config)
        adder_row = self.step[:low_bits]  # output channels come first in a step's row
        next_rows: Any = Signal(data.ArrayLayout(step_places(config), config.lanes))
        m.d.comb += self.row.step_start.eq(next_rows)
        for index in range(config.adder_rows):
            mine = adder_row == index if low_bits else Const(1)
            with m.If(new_channel):
                m.d.sync += self.counts[index].eq(0)
            with m.Elif(self.step_lanes.any() & mine):
                m.d.sync += self.counts[index].eq(self.counts[index] + 1)
            for lane in range(config.lanes):
                with m.If(self.restart):
                    m.d.sync += next_rows[lane][index].eq(0)
                with m.Elif(self.step_lanes[lane] & mine):
                    m.d.sync += next_rows[lane][index].eq(next_rows[lane][index] + 1)
        m.d.comb += [self.step_rows[lane].eq(next_rows[lane][adder_row if low_bits else 0]) for lane in range(config.lanes)]
        m.d.sync += self.counted.eq(self.channel)

    def _complete(self, m: Module) -> None:
        """The channel's last word was taken."""
        m.d.sync += [self.channel.eq(self.channel + 1), self.counts_valid.eq(1)]
        m.next = "RECORD"
        with m.If(self.channel == self._config.slice_channels - 1):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"
