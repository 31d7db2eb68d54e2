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


class ActivityCounters(wiring.Component):
    """The cycles that each unit is busy, starved, blocked and drained in a job.

    A cycle in which an instance of a unit is neither busy nor blocked is drain before the unit's first busy or blocked cycle of
    the job and after its last one, starved in between; all instances of a unit have these in common.

    Parameters: `config`; `units`, those of a cluster by default.

    Members: `observed` what the units do in this cycle, counted while observed.active; `ended`: the report of job number `job`
    is handed over in this cycle, in which nothing is active; `ready` for that; `activity` out, one payload a unit for each job;
    `pending` from the cycle after `ended` until they are taken.

    Latency 2 cycles from `ended` to the first payload, throughput 1 payload a cycle. Never stalls the next job: its cycles are
    counted meanwhile; only the end of that one waits for `ready`.
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
        kept = [self._count(m, unit, observed, ended) for unit in self._units]

        left, index = Signal(range(len(kept) + 1)), Signal(range(len(kept)))
        payload = self.activity.payload
        busy, blocked, idle, first, last = (Signal(COUNT_BITS, name=f"shown_{number}") for number in range(5))
        m.d.comb += [
            Cat(busy, blocked, idle, first, last).eq(Array(kept)[index]),
            payload.job.eq(job),
            payload.unit.eq(Array(self._units)[index]),
            payload.busy.eq(busy),
            payload.blocked.eq(blocked),
            payload.starved.eq(last - first),
            payload.drain.eq(idle - (last - first)),
            self.activity.valid.eq(left != 0),
            self.pending.eq(ended | (left != 0)),
            self.ready.eq(~self.pending),
        ]
        with m.If(ended):
            m.d.sync += [left.eq(len(kept)), index.eq(0)]
        with m.Elif(self.activity.valid & self.activity.ready):
            m.d.sync += [left.eq(left - 1), index.eq(index + 1)]
        return m

    def _count(self, m: Module, unit: Unit, observed: Any, ended: Signal) -> Signal:
        """The counts of the last job that ended: busy, blocked, idle, and how many were idle before the first and last work."""
        states = [observed[unit.label][index] for index in range(instances(unit, self._config))]
        busy, blocked, idle, first, last, following = (
            Signal(COUNT_BITS, name=f"{unit.label}_{name}")
            for name in ("busy", "blocked", "idle", "first", "last", "idle_next")
        )
        working, held = (Cat(state == seen for state in states) for seen in (Observation.BUSY, Observation.BLOCKED))
        begun = Signal(name=f"{unit.label}_begun")
        counted = Cat(busy, blocked, idle, first, last)
        kept = Signal(len(counted), name=f"{unit.label}_kept")
        m.d.comb += following.eq(idle + popcount(~(working | held)))
        with m.If(ended):
            m.d.sync += [kept.eq(counted), counted.eq(0), begun.eq(0)]
        with m.Elif(observed.active):
            m.d.sync += [busy.eq(busy + popcount(working)), blocked.eq(blocked + popcount(held)), idle.eq(following)]
            with m.If((working | held).any()):
                m.d.sync += [begun.eq(1), last.eq(following)]
                with m.If(~begun):
                    m.d.sync += first.eq(idle)
        return kept


def observation(busy: Value, blocked: Value) -> Value:
    """What is seen of a unit that works in this cycle, or has something to hand over that is not taken."""
    return Mux(busy, Observation.BUSY, Mux(blocked, Observation.BLOCKED, Observation.IDLE))


def handed_over(output: Any) -> Value:
    """What is seen of a unit whose work is to hand payloads to a stream."""
    return observation(output.valid & output.ready, output.valid)


def loading(busy: Value, unit: Any) -> Value:
    """What is seen of a unit that reads memory: it works, or has asked for words and was not heard."""
    return observation(busy, unit.read_request.valid & ~unit.read_request.ready)
