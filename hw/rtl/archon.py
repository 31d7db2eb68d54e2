"""ARCHON: controller, clusters, image unit and their shared memory port."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import CLUSTER_UNITS, observed, observed_bits
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB_BITS
from hw.rtl.arbiter import ReadArbiter, StreamArbiter
from hw.rtl.controller import Controller
from hw.rtl.image_unit import ImageUnit
from hw.rtl.interfaces import ACTIVITY, COMMAND, READ_DATA, READ_REQUEST, REPORT, WRITE
from hw.rtl.job_sequencer import CYCLE_BITS, cluster_signature
from hw.rtl.shared import shared


def archon_signature(config: ArchonConfig) -> wiring.Signature:
    """The members of the accelerator."""
    return wiring.Signature(
        {
            "command": In(COMMAND),
            "busy": Out(1),
            "error": Out(1),
            "bad_tables": Out(1),
            "error_index": Out(JOB_BITS),
            "read_request": Out(READ_REQUEST),
            "read_data": In(READ_DATA),
            "write": Out(WRITE),
            "writes_pending": In(1),
            "report": Out(REPORT),
            "activity": Out(ACTIVITY),
            "observed": Out(observed_bits(config)),
        }
    )


class Archon(wiring.Component):
    """The accelerator: runs whole networks, from raw images to logits, as programs of jobs.

    Members: `command` starts the program at a word address; `busy` until its last job's report and counts were taken, or until
    `bad_tables`, a table segment that is not what its job needs, after which only a reset helps; `error` after a bad
    descriptor, until the next command; `error_index` that descriptor's number in the program, or the number that the job with
    the bad tables has in its descriptor; `read_request` and `read_data` (bursts, in order), `write` (with byte strobes) to
    external memory; `writes_pending`, from the cycle after a write was taken: a read might not see it yet; `report` one payload
    per finished job; `activity` counts of what units did in it (hw.contract.activity), `observed` what all units do in this
    cycle: both mean nothing where the configuration has no counters.
    """

    command: stream.Interface
    busy: Signal
    error: Signal
    bad_tables: Signal
    error_index: Signal
    read_request: stream.Interface
    read_data: stream.Interface
    write: stream.Interface
    writes_pending: Signal
    report: stream.Interface
    activity: stream.Interface
    observed: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__(archon_signature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.controller = controller = Controller(config)
        m.submodules.image_unit = image_unit = ImageUnit(config)
        signature = cluster_signature(observed(CLUSTER_UNITS, config))
        clusters = [shared(m, "cluster", f"cluster{index}", signature) for index in range(config.clusters)]
        units = [*clusters, image_unit]
        m.submodules.read_arbiter = reads = ReadArbiter(len(units) + 1, config.clusters * config.queues.residual)
        m.submodules.write_arbiter = writes = StreamArbiter(WRITE, len(units))
        m.submodules.report_arbiter = reports = StreamArbiter(REPORT, len(units))
        cycle, counting = Signal(CYCLE_BITS), Signal()
        m.d.sync += cycle.eq(cycle + 1)

        wiring.connect(m, wiring.flipped(self.command), controller.command)
        m.d.comb += [
            self.bad_tables.eq(Cat(cluster.bad_tables for cluster in clusters).any()),
            self.busy.eq((controller.busy | ~reports.idle | counting) & ~self.bad_tables),
            self.error.eq(controller.error),
            self.error_index.eq(controller.index),
            controller.writes_idle.eq(writes.idle & ~self.writes_pending),
        ]
        for cluster in clusters:
            with m.If(cluster.bad_tables):
                m.d.comb += self.error_index.eq(cluster.bad_job)
        for index, unit in enumerate(units):
            m.d.comb += [unit.cycle.eq(cycle), unit.hold.eq(controller.hold), controller.idle[index].eq(unit.idle)]
            wiring.connect(m, controller.jobs[index], unit.jobs)
            wiring.connect(m, unit.write, writes.inputs[index])
            wiring.connect(m, unit.reports, reports.inputs[index])
        for user, client in zip([controller, *units], reads.clients, strict=True):
            wiring.connect(m, user.read_request, client.read_request)
            wiring.connect(m, client.read_data, user.read_data)
        wiring.connect(m, reads.read_request, wiring.flipped(self.read_request))
        wiring.connect(m, wiring.flipped(self.read_data), reads.read_data)
        wiring.connect(m, writes.output, wiring.flipped(self.write))
        wiring.connect(m, reports.output, wiring.flipped(self.report))
        if config.counters:
            m.submodules.activity_arbiter = counts = StreamArbiter(ACTIVITY, len(units))
            for unit, client in zip(units, counts.inputs, strict=True):
                wiring.connect(m, unit.activity, client)
            wiring.connect(m, counts.output, wiring.flipped(self.activity))
            pending = Cat(unit.counts_pending for unit in units).any()
            m.d.comb += [counting.eq(pending | ~counts.idle), self.observed.eq(Cat(unit.observed for unit in units))]
        return m
