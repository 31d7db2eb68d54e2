"""Fetches the pair record of each survivor of a lane and masks its products."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import STEP_COUNT_BITS, TableKind, pair_row
from hw.rtl.accumulator_bank import row_bits
from hw.rtl.arithmetic import tree_sum
from hw.rtl.interfaces import JOB, struct, survivor, table_write
from hw.rtl.table_memory import TableMemory


def masked_pair(config: ArchonConfig) -> data.StructLayout:
    """What the steps of a pair add, before scaling.

    `products[d]` is 0 where m1 masks the tap, `touches[d]` says that it is not; `bias` is b2 + sum_d m1 * D * b1 of the bias
    owner and 0 for other pairs; `base` of the rows of A.
    """
    return data.StructLayout(
        {
            "products": data.ArrayLayout(signed(config.widths.product), config.taps),
            "touches": config.taps,
            "owns_bias": 1,
            "bias": signed(numerics.OUTPUT_ACCUMULATOR_BITS),
            "base": row_bits(config),
        }
    )


def row_pair(config: ArchonConfig) -> data.StructLayout:
    """A pair and its steps in one adder row, at least one; with `end` the pixel ends and the rest means nothing."""
    return data.StructLayout(
        {
            "end": 1,
            "step_start": index_bits(config.part_of_row(config.depths.step)),
            "step_count": STEP_COUNT_BITS,
            "pair": masked_pair(config),
        }
    )


class PairFetch(wiring.Component):
    """Turns each survivor into a masked pair for every adder row that has steps of it; pairs that add nothing go to none.

    Parameters: `config`.

    Members: `job`; `table_write` fills the pair table; `survivors` in; `pairs[r]` out to adder row r, in order, with the `end`
    payloads between them. A row may be ahead of the others by one pair.

    Latency 4 cycles, throughput 1 survivor a cycle; stalls with `pairs`.
    """

    job: data.View
    table_write: Any
    survivors: stream.Interface
    pairs: list[stream.Interface]

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(
            {
                "job": In(JOB),
                "table_write": In(table_write(config)),
                "survivors": In(stream.Signature(survivor(config))),
                "pairs": Out(stream.Signature(row_pair(config))).array(config.adder_rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.table = table = TableMemory(TableKind.PAIR, config)
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        advance = Signal()
        m.d.comb += [
            self.survivors.ready.eq(advance),
            table.enable.eq(advance),
            table.half.eq(self.job.half),
            table.address.eq(self.survivors.payload.pair),
        ]

        # The table's row, then a register of it.
        row: Any = Signal(struct(pair_row(config)))
        taps = [Signal(config.taps, name=name) for name in ("read_taps", "row_taps")]
        valid, end = ([Signal(name=f"{stage}_{name}") for stage in ("read", "row", "masked")] for name in ("valid", "end"))
        with m.If(advance):
            m.d.sync += [
                Cat(valid).eq(Cat(self.survivors.valid, *valid)),
                Cat(end).eq(Cat(self.survivors.payload.end, *end)),
                Cat(taps).eq(Cat(self.survivors.payload.taps, *taps)),
                row.eq(table.row),
            ]
        masked, parts, bias, start, count = self._mask(m, row, taps[-1], advance)

        # Output registers: the bias in one number, and which rows have not taken the pair yet.
        leaving: Any = Signal(row_pair(config))
        starts, counts = Signal.like(start), Signal.like(count)
        wanted = Signal(config.adder_rows)
        useful = Cat(number != 0 for number in count) & (masked.touches.any() | masked.owns_bias).replicate(len(wanted))
        left = wanted & ~Cat(stream.ready for stream in self.pairs)
        m.d.comb += advance.eq(left == 0)
        m.d.sync += wanted.eq(left)
        with m.If(advance):
            m.d.sync += [
                wanted.eq(Mux(end[-1], ~0, useful) & valid[-1].replicate(len(wanted))),
                leaving.end.eq(end[-1]),
                leaving.pair.eq(masked),
                leaving.pair.bias.eq(tree_sum([bias, *parts])),
                starts.eq(start),
                counts.eq(count),
            ]
        for index, pairs in enumerate(self.pairs):
            m.d.comb += [
                pairs.payload.eq(leaving),
                pairs.payload.step_start.eq(starts[index]),
                pairs.payload.step_count.eq(counts[index]),
                pairs.valid.eq(wanted[index]),
            ]
        return m

    def _mask(self, m: Module, row: Any, taps: Signal, advance: Signal) -> tuple[Any, Any, Signal, Any, Any]:
        """Registers: masked products and flags, the bias in parts (some products each, and b2), places of the steps."""
        widths, kernel, every_tap = self._config.widths, self._config.kernel, range(self._config.taps)
        masked: Any = Signal(masked_pair(self._config))
        parts: Any = Signal(data.ArrayLayout(signed(widths.bias_product + index_bits(kernel)), kernel))
        bias = Signal(signed(widths.bias))
        start, count = Signal.like(row.step_start), Signal.like(row.step_count)
        with m.If(advance):
            biases = [Mux(taps[tap], row.bias_products[tap], 0) for tap in every_tap]
            m.d.sync += [parts[index].eq(tree_sum(biases[index * kernel : (index + 1) * kernel])) for index in range(kernel)]
            m.d.sync += [masked.products[tap].eq(Mux(taps[tap], row.products[tap], 0)) for tap in every_tap]
            m.d.sync += [
                masked.touches.eq(taps & Cat(product != 0 for product in row.products)),
                masked.owns_bias.eq(row.owns_bias),
                masked.base.eq(row.accumulator_base),
                bias.eq(row.bias),
                start.eq(row.step_start),
                count.eq(row.step_count),
            ]
        return masked, parts, bias, start, count
