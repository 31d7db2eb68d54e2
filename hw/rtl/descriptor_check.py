"""Refuses descriptors whose jobs could not come to their end."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import CHANNELS_PER_WORD, DIMENSION_BITS, ArchonConfig
from hw.contract.descriptor import PIXEL_BITS
from hw.contract.memory import IMAGE_CHANNELS, LEVEL_WORDS
from hw.contract.rules import COUNTED
from hw.rtl.interfaces import JOB


class DescriptorCheck(wiring.Component):
    """Holds a descriptor against hw.contract.rules.

    Products are compared while they are worked out, a bit of a factor a cycle, so that no multiplier is needed.

    Parameters: `config`.

    Members: `job`, stable from `start`, which begins a check, to its end; `done`, from the check's end to the next `start`;
    `bad`: a rule is broken, valid with `done`. Which unit the job is for is the controller's to say, but for the image unit's.

    Latency DIMENSION_BITS + 2 cycles.
    """

    job: data.View
    start: Signal
    done: Signal
    bad: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"job": In(JOB), "start": In(1), "done": Out(1), "bad": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job, depths = self.job, self._config.depths
        of_image, left = Signal(), Signal(range(DIMENSION_BITS + 2))
        broken, too_large = Signal(), Signal()
        m.d.comb += [
            of_image.eq(job.cluster == self._config.image_unit),
            broken.eq(Mux(of_image, self._image(m), self._cluster(m)) | (job.output_width != _reduced(job.input_width, job))),
            self.done.eq(left == 0),
        ]

        # Factors whose bits are looked at, highest first, and what is added up for them.
        turns, slices, rows = (Signal(DIMENSION_BITS, name=f"{name}_bits") for name in ("turns", "slices", "rows"))
        row = Signal(DIMENSION_BITS + 2)
        with m.Switch(Mux(of_image, job.input_channels[:3], 1)):
            for channels in range(1, IMAGE_CHANNELS + 1):
                with m.Case(channels):
                    m.d.comb += row.eq(channels * job.input_width)
        products = [
            (turns, job.segment, depths.activation),
            (turns, job.slices, depths.turned_slices),
            (turns, job.output_channels, depths.accumulator),
            (slices, Mux(job.fixed, 0, job.input_width), depths.row_store),
        ]
        sums = [self._product(m, factor, amount, limit, left) for factor, amount, limit in products]
        size = Signal(PIXEL_BITS + 2)
        m.d.comb += too_large.eq(~of_image & Cat(sums).any())
        with m.If(self.start):
            m.d.sync += [left.eq(DIMENSION_BITS + 1), size.eq(0), self.bad.eq(broken)]
            m.d.sync += [turns.eq(job.turns), slices.eq(job.slices), rows.eq(Mux(of_image, job.input_height, job.input_rows))]
        with m.Elif(~self.done):
            m.d.sync += [left.eq(left - 1), self.bad.eq(self.bad | too_large)]
            m.d.sync += [bits.eq(bits << 1) for bits in (turns, slices, rows)]
            with m.If(left != 1):
                m.d.sync += size.eq((size << 1) + Mux(rows[-1], row, 0))
            with m.Else():
                words = Mux(of_image, (size + CHANNELS_PER_WORD - 1) >> (CHANNELS_PER_WORD - 1).bit_length(), size)
                m.d.sync += self.bad.eq(self.bad | too_large | (job.segment != words))
        return m

    def _product(self, m: Module, factor: Signal, amount: Value, limit: int, left: Signal) -> Value:
        """Whether what was worked out so far of the factor times `amount` is above the limit, which stays so."""
        most = max(limit, (1 << len(Value.cast(amount))) - 1)
        total = Signal(range(2 * limit + most + 1))
        above = Signal()
        m.d.comb += above.eq(total > limit)
        with m.If(self.start):
            m.d.sync += total.eq(0)
        with m.Elif((left > 1) & ~above):
            m.d.sync += total.eq((total << 1) + Mux(factor[-1], amount, 0))
        return above

    def _cluster(self, m: Module) -> Value:
        job: Any = self.job
        depths, lanes = self._config.depths, self._config.lanes
        input_behind = job.input_row_start + job.input_rows
        output_behind = job.output_row_start + job.output_rows
        lane_bits, word_bits = (lanes - 1).bit_length(), (CHANNELS_PER_WORD - 1).bit_length()
        rules = [
            *(job[name] == 0 for name in COUNTED),
            job.turns != (job.input_channels + lanes - 1) >> lane_bits,
            job.planes != (job.first_byte + job.input_channels + CHANNELS_PER_WORD - 1) >> word_bits,
            input_behind > job.input_height,
            job.input_row_start > _scaled(job.output_row_start, job),
            _scaled(output_behind, job) >= input_behind + 1 + job.stride_two,
            job.output_channels > depths.output,
            ~job.fixed & (job.slices > depths.slices),
            job.raw & (job.relu | job.residual),
        ]
        broken = Signal(len(rules), name="cluster_rules")
        m.d.comb += broken.eq(Cat(rules))
        return broken.any()

    def _image(self, m: Module) -> Value:
        job: Any = self.job
        rules = [
            job.input_height == 0,
            (job.input_width == 0) | (job.input_width > self._config.depths.image_row),
            (job.input_channels == 0) | (job.input_channels > IMAGE_CHANNELS),
            job.output_rows != _reduced(job.input_height, job),
            job.planes != job.input_channels + 1,  # nine bytes a channel, eight a word, four channels at most
            job.table_words != LEVEL_WORDS,
        ]
        broken = Signal(len(rules), name="image_rules")
        m.d.comb += broken.eq(Cat(rules))
        return broken.any()


def _reduced(size: Value, job: Any) -> Value:
    """Output rows or columns."""
    return Mux(job.stride_two, (size + 1) >> 1, size)


def _scaled(row: Value, job: Any) -> Value:
    """The centre row of an output row."""
    return Mux(job.stride_two, row << 1, row)
