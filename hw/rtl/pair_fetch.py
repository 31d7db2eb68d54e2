"""Fetches the pair record of each survivor of a lane and masks its products."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import STEP_COUNT_BITS, TableKind, bias_row, pair_row
from hw.rtl.accumulator_bank import row_bits
from hw.rtl.arithmetic import tree_sum
from hw.rtl.interfaces import JOB, drive, struct, survivor, table_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.reserved_queue import ReservedQueue
from hw.rtl.table_memory import TableMemory

PIPELINE_CYCLES = 5
"""From a survivor to its pair at the queues."""

_PAIRS_UNDER_WAY = PIPELINE_CYCLES + 5
"""Places of a queue that are taken from acceptance until they are known to be free again, at full rate."""


def queue_depth(config: ArchonConfig) -> int:
    """Pairs under way or waiting, of an adder row."""
    return config.queues.pair + _PAIRS_UNDER_WAY


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

    Members: `job`; `table_write` fills the pair and bias tables; `survivors` in; `pairs[r]` out to adder row r, in order, with
    the `end` payloads between them, from a queue of each row.

    Latency PIPELINE_CYCLES + 2 cycles, throughput 1 survivor a cycle. Only acceptance waits, for a place in the queue of every
    row.
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
        config, given = self._config, self.survivors.payload
        m.submodules.table = table = TableMemory(TableKind.PAIR, config)
        m.submodules.biases = biases = TableMemory(TableKind.BIAS, config)
        m.d.comb += [table.address.eq(given.pair), biases.address.eq(table.row.bias_row)]
        for memory in (table, biases):
            m.d.comb += [memory.enable.eq(1), memory.half.eq(self.job.half), *drive(memory.write, self.table_write)]
        accepted = Signal()
        m.d.comb += accepted.eq(self.survivors.valid & self.survivors.ready)

        # The pair's row in a register, beside the read of its biases; masks, beside a register of these; their sum in parts.
        row: Any = Signal(struct(pair_row(config)))
        m.d.sync += row.eq(table.row)
        valid = delay_flags(m, accepted, PIPELINE_CYCLES, Const(0))[-1]
        masked, adds = self._mask(m, row, delay(m, given.taps, 2))
        parts = self._sum_biases(m, biases, delay(m, row.owns_bias, 1), delay(m, given.taps, 3))
        start, count = (delay(m, Value.cast(value), 3) for value in (row.step_start, row.step_count))
        has_steps = delay(m, Cat(number != 0 for number in row.step_count), 3)
        leaving: Any = Signal(row_pair(config))
        m.d.sync += [
            leaving.end.eq(delay(m, given.end, PIPELINE_CYCLES - 1)),
            leaving.pair.eq(masked),
            leaving.pair.bias.eq(tree_sum(parts)),
        ]

        queues = []
        for index, pairs in enumerate(self.pairs):
            m.submodules[f"queue{index}"] = queue = ReservedQueue(row_pair(config), queue_depth(config))
            wiring.connect(m, queue.output, wiring.flipped(pairs))
            wanted = Signal(name=f"wanted{index}")
            m.d.comb += [
                wanted.eq(leaving.end | (adds & has_steps[index])),
                queue.payload.eq(leaving),
                queue.payload.step_start.eq(start.word_select(index, len(leaving.step_start))),
                queue.payload.step_count.eq(count.word_select(index, len(leaving.step_count))),
                queue.take.eq(accepted),
                queue.enter.eq(valid & wanted),
                queue.give_back.eq(valid & ~wanted),
            ]
            queues.append(queue)
        m.d.comb += self.survivors.ready.eq(Cat(queue.free for queue in queues).all())
        return m

    def _mask(self, m: Module, row: Any, taps: Value) -> tuple[Any, Value]:
        """Registers of a masked pair, a cycle on; and one behind it: whether it adds anything."""
        masked: Any = Signal(masked_pair(self._config))
        adds = Signal()
        m.d.sync += [masked.products[tap].eq(Mux(taps[tap], product, 0)) for tap, product in enumerate(row.products)]
        m.d.sync += [
            masked.touches.eq(taps & Cat(product != 0 for product in row.products)),
            masked.owns_bias.eq(row.owns_bias),
            masked.base.eq(row.accumulator_base),
            adds.eq(masked.touches.any() | masked.owns_bias),
        ]
        later: Any = Signal.like(masked)
        m.d.sync += later.eq(masked)
        return later, delay(m, adds, 1)

    def _sum_biases(self, m: Module, biases: TableMemory, owns: Value, taps: Value) -> list[Value]:
        """Registers: the bias in parts, some products each, and b2; 0 of a pair that has none."""
        widths, kernel = self._config.widths, self._config.kernel
        row: Any = Signal(struct(bias_row(self._config)))
        parts: Any = Signal(data.ArrayLayout(signed(widths.bias_product + index_bits(kernel)), kernel))
        m.d.sync += row.eq(biases.row)
        masked = [Mux(taps[tap] & owns, product, 0) for tap, product in enumerate(row.products)]
        m.d.sync += [parts[index].eq(tree_sum(masked[index * kernel : (index + 1) * kernel])) for index in range(kernel)]
        return [*parts, delay(m, Mux(owns, row.bias, 0), 1)]
