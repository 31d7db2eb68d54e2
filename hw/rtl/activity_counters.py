"""Counts what the units of a cluster, or of the image unit, do in every cycle of a job."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import CLUSTER_UNITS, COUNT_BITS, Observation, Unit, instances
from hw.contract.activity import observed as observed_layout
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB_BITS
from hw.rtl.arithmetic import popcount
from hw.rtl.interfaces import ACTIVITY, struct

PAYLOAD_CYCLES = 5
"""From one payload to the next: it moves up, and what is left of the job's cycles is worked out."""


class ActivityCounters(wiring.Component):
    """The cycles that each unit is busy, starved, blocked and drained in a job.

    A cycle in which an instance of a unit is neither busy nor blocked is drain before the unit's first busy or blocked cycle of
    the job and after its last one, starved in between; all instances of a unit have these in common. Drain is what the others
    leave of the job's cycles.

    Parameters: `config`; `units`, those of a cluster by default.

    Members: `observed` what the units do in this cycle, counted while observed.active; `ended`: the report of job number `job`
    is handed over in this cycle, in which nothing is active; `ready` for that; `activity` out, one payload a unit for each job;
    `pending` from the cycle after `ended` until they are taken.

    Latency 1 + PAYLOAD_CYCLES cycles from `ended` to the first payload, throughput 1 payload in PAYLOAD_CYCLES cycles. Never
    stalls the next job: its cycles are counted meanwhile; only the end of that one waits for `ready`.
    """

    observed: Any
    ended: Signal
    job: Signal
    ready: Signal
    activity: stream.Interface
    pending: Signal

    def __init__(self, config: ArchonConfig, units: Sequence[Unit] = CLUSTER_UNITS) -> None:
        self._config, self._units = config, units
        super().__init__(
            {
                "observed": In(struct(observed_layout(units, config))),
                "ended": In(1),
                "job": In(JOB_BITS),
                "ready": Out(1),
                "activity": Out(ACTIVITY),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        observed: Any = Signal.like(self.observed)
        ended, job = Signal(), Signal(JOB_BITS)
        m.d.sync += [observed.eq(self.observed), ended.eq(self.ended)]
        with m.If(self.ended):
            m.d.sync += job.eq(self.job)
        cycles, cycles_kept = Signal(COUNT_BITS), Signal(COUNT_BITS)
        counts = [self._count(m, unit, observed, ended) for unit in self._units]
        with m.If(ended):
            m.d.sync += [cycles.eq(0), cycles_kept.eq(cycles)]
        with m.Elif(observed.active):
            m.d.sync += cycles.eq(cycles + 1)

        # The counts of the job that ended move up as they are taken.
        left, index, taken, moves = Signal(range(len(counts) + 1)), Signal(range(len(counts))), Signal(), Signal()
        settled = Signal(PAYLOAD_CYCLES - 1)
        m.d.sync += [moves.eq(taken), settled.eq(Mux(ended | taken, 0, Cat(1, settled)))]
        kept = [Signal.like(counted, name=f"{unit.label}_kept") for unit, counted in zip(self._units, counts, strict=True)]
        with m.If(ended | moves):
            for number, (place, counted) in enumerate(zip(kept, counts, strict=True)):
                m.d.sync += place.eq(Mux(ended, counted, kept[number + 1] if number + 1 < len(kept) else 0))

        payload = self.activity.payload
        all_cycles, but_starved, but_drain = (
            Signal(COUNT_BITS, name=name) for name in ("all_cycles", "but_starved", "but_drain")
        )
        m.d.sync += [
            all_cycles.eq(Array(cycles_kept * instances(unit, self._config) for unit in self._units)[index]),
            but_starved.eq(payload.busy + payload.blocked),
            but_drain.eq(but_starved + payload.starved),
            payload.drain.eq(all_cycles - but_drain),
        ]
        m.d.comb += [
            Cat(payload.busy, payload.blocked, payload.starved).eq(kept[0]),
            payload.job.eq(job),
            payload.unit.eq(Array(self._units)[index]),
            self.activity.valid.eq((left != 0) & settled[-1]),
            taken.eq(self.activity.valid & self.activity.ready),
            self.pending.eq(ended | (left != 0)),
            self.ready.eq(~self.pending),
        ]
        with m.If(ended):
            m.d.sync += [left.eq(len(counts)), index.eq(0)]
        with m.Elif(taken):
            m.d.sync += [left.eq(left - 1), index.eq(index + 1)]
        return m

    def _count(self, m: Module, unit: Unit, observed: Any, ended: Signal) -> Value:
        """The counts of the job so far: busy, blocked, starved."""
        states = [observed[unit.label][index] for index in range(instances(unit, self._config))]
        # `idle` counts from the first work on; what it shows at the last work was starved.
        busy, blocked, starved, idle, following = (
            Signal(COUNT_BITS, name=f"{unit.label}_{name}") for name in ("busy", "blocked", "starved", "idle", "idle_next")
        )
        working, held = (Cat(state == seen for state in states) for seen in (Observation.BUSY, Observation.BLOCKED))
        begun, works = Signal(name=f"{unit.label}_begun"), Signal(name=f"{unit.label}_works")
        m.d.comb += [works.eq((working | held).any()), following.eq(idle + popcount(~(working | held)))]
        with m.If(ended):
            m.d.sync += Cat(busy, blocked, starved, idle, begun).eq(0)
        with m.Elif(observed.active):
            m.d.sync += [busy.eq(busy + popcount(working)), blocked.eq(blocked + popcount(held))]
            with m.If(begun | works):
                m.d.sync += idle.eq(following)
            with m.If(works):
                m.d.sync += [begun.eq(1), starved.eq(following)]
        return Cat(busy, blocked, starved)


def observation(busy: Value, blocked: Value) -> Value:
    """What is seen of a unit that works in this cycle, or has something to hand over that is not taken."""
    return Mux(busy, Observation.BUSY, Mux(blocked, Observation.BLOCKED, Observation.IDLE))


def handed_over(output: Any) -> Value:
    """What is seen of a unit whose work is to hand payloads to a stream."""
    return observation(output.valid & output.ready, output.valid)


def loading(busy: Value, unit: Any) -> Value:
    """What is seen of a unit that reads memory: it works, or has asked for words and was not heard."""
    return observation(busy, unit.read_request.valid & ~unit.read_request.ready)
