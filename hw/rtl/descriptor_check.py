"""Refuses descriptors whose jobs could not come to their end."""

from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import DIMENSION_BITS, ArchonConfig
from hw.contract.rules import Product, cluster_rules, image_rules
from hw.rtl.interfaces import JOB
from hw.rtl.pipeline import delay

FACTOR_BITS = DIMENSION_BITS + 1
"""Factors are fields of this many bits at most, or such a field divided, rounding up."""


class DescriptorCheck(wiring.Component):
    """Holds a descriptor against hw.contract.rules.

    Products are worked out a bit of a factor a cycle, so that no multiplier is needed. The rest has as many cycles to settle in
    its registers.

    Parameters: `config`.

    Members: `job`, stable from `start`, which begins a check, to its end; `done`, from the check's end to the next `start`;
    `bad`: a rule is broken, valid with `done`. Which unit the job is for is the controller's to say, but for the image unit's.

    Latency FACTOR_BITS + 4 cycles.
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
        left = Signal(range(FACTOR_BITS + 4))
        m.d.comb += self.done.eq(left == 0)
        with m.If(self.start):
            m.d.sync += left.eq(FACTOR_BITS + 3)
        with m.Elif(~self.done):
            m.d.sync += left.eq(left - 1)

        broken = []
        for of_unit in (cluster_rules, image_rules):
            kept, products = of_unit(self.job, self._config, Mux, partial(delay, m, cycles=1))
            kept_all = Signal(len(kept) + len(products), name=of_unit.__name__)
            m.d.sync += kept_all.eq(Cat(*kept.values(), *(self._product(m, rule, left) for rule in products)))
            broken.append(~kept_all.all())
        with m.If(left == 1):
            m.d.sync += self.bad.eq(Mux(self.job.cluster == self._config.image_unit, broken[1], broken[0]))
        return m

    def _product(self, m: Module, rule: Product, left: Signal) -> Value:
        """Whether the rule is kept, once all bits of the factor have been looked at, highest first."""
        amount = Value.cast(rule.amount)
        factor, total = Signal(FACTOR_BITS, name="factor"), Signal(FACTOR_BITS + len(amount), name="total")
        with m.If(left == FACTOR_BITS + 3):
            m.d.sync += [factor.eq(rule.factor), total.eq(0)]
        with m.Elif(left > 2):
            m.d.sync += [factor.eq(factor << 1), total.eq((total << 1) + Mux(factor[-1], amount, 0))]
        return (total <= rule.most) & (total >= rule.least)
