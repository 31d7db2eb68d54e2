"""Fetches the pair record of each survivor of a lane and masks its products."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract import numerics
from hw.contract.config import ArchonConfig, index_bits
from hw.contract.tables import STEP_COUNT_BITS, TableKind, pair_row
from hw.rtl.accumulator_bank import row_bits
from hw.rtl.arithmetic import tree_sum
from hw.rtl.interfaces import JOB, struct, survivor, table_write
from hw.rtl.pipeline import delay, delay_flags
from hw.rtl.queue import Queue
from hw.rtl.table_memory import TableMemory

PIPELINE_CYCLES = 4
"""From a survivor to its pair at the queues."""

_PAIRS_UNDER_WAY = PIPELINE_CYCLES + 4
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

    Members: `job`; `table_write` fills the pair table; `survivors` in; `pairs[r]` out to adder row r, in order, with the `end`
    payloads between them, from a queue of each row.

    Latency PIPELINE_CYCLES + 2 cycles, throughput 1 survivor a cycle. Only acceptance waits, for a place in the queue of every
    row, which is taken ahead: the pipeline itself never stalls.
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
        wiring.connect(m, wiring.flipped(self.table_write), table.write)
        m.d.comb += [table.enable.eq(1), table.half.eq(self.job.half), table.address.eq(given.pair)]
        accepted = Signal()
        m.d.comb += accepted.eq(self.survivors.valid & self.survivors.ready)

        # The table's row, then a register of it; masks; the bias in one number.
        row: Any = Signal(struct(pair_row(config)))
        m.d.sync += row.eq(table.row)
        taps = delay(m, given.taps, 2)
        valid = delay_flags(m, accepted, PIPELINE_CYCLES, Const(0))[-1]
        masked, parts, bias = self._mask(m, row, taps)
        start, count = (delay(m, Value.cast(value), 2) for value in (row.step_start, row.step_count))
        leaving: Any = Signal(row_pair(config))
        m.d.sync += [
            leaving.end.eq(delay(m, given.end, PIPELINE_CYCLES - 1)),
            leaving.pair.eq(masked),
            leaving.pair.bias.eq(tree_sum([bias, *parts])),
        ]
        adds, has_steps = Signal(), delay(m, Cat(number != 0 for number in row.step_count), 2)
        m.d.sync += adds.eq(masked.touches.any() | masked.owns_bias)

        rooms = []
        for index, pairs in enumerate(self.pairs):
            m.submodules[f"queue{index}"] = queue = Queue(row_pair(config), queue_depth(config))
            wiring.connect(m, queue.output, wiring.flipped(pairs))
            step_start = start.word_select(index, len(leaving.step_start))
            step_count = count.word_select(index, len(leaving.step_count))
            wanted, free = Signal(name=f"wanted{index}"), Signal(name=f"free{index}", init=1)
            m.d.comb += [
                wanted.eq(leaving.end | (adds & has_steps[index])),
                queue.input.payload.eq(leaving),
                queue.input.payload.step_start.eq(step_start),
                queue.input.payload.step_count.eq(step_count),
                queue.input.valid.eq(valid & wanted),
            ]
            room, following = (Signal(range(queue_depth(config) + 1), init=queue_depth(config)) for _ in range(2))
            m.d.comb += following.eq(room - accepted + (valid & ~wanted) + (pairs.valid & pairs.ready))
            m.d.sync += [room.eq(following), free.eq(following != 0)]
            rooms.append(free)
        m.d.comb += self.survivors.ready.eq(Cat(rooms).all())
        return m

    def _mask(self, m: Module, row: Any, taps: Value) -> tuple[Any, Any, Value]:
        """Registers: masked products and flags, the bias in parts: some products each, and b2."""
        widths, kernel, every_tap = self._config.widths, self._config.kernel, range(self._config.taps)
        masked: Any = Signal(masked_pair(self._config))
        parts: Any = Signal(data.ArrayLayout(signed(widths.bias_product + index_bits(kernel)), kernel))
        biases = [Mux(taps[tap], row.bias_products[tap], 0) for tap in every_tap]
        m.d.sync += [parts[index].eq(tree_sum(biases[index * kernel : (index + 1) * kernel])) for index in range(kernel)]
        m.d.sync += [masked.products[tap].eq(Mux(taps[tap], row.products[tap], 0)) for tap in every_tap]
        m.d.sync += [
            masked.touches.eq(taps & Cat(product != 0 for product in row.products)),
            masked.owns_bias.eq(row.owns_bias),
            masked.base.eq(row.accumulator_base),
        ]
        return masked, parts, delay(m, row.bias, 1)
