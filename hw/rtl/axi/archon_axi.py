"""The accelerator with its registers and its memory port: only wires."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.activity import ACTIVITY
from hw.contract.config import ArchonConfig
from hw.contract.registers import COUNTERS, constants
from hw.rtl.arbiter import StreamArbiter
from hw.rtl.archon import archon_signature
from hw.rtl.axi.burst_splitter import word_address
from hw.rtl.axi.counters import Counters
from hw.rtl.axi.interfaces import AXI, AXI_LITE, BYTE_WRITE, forward
from hw.rtl.axi.read_master import ReadMaster
from hw.rtl.axi.register_bank import RegisterBank
from hw.rtl.axi.report_writer import ReportWriter
from hw.rtl.axi.run_control import RunControl
from hw.rtl.axi.write_master import WriteMaster
from hw.rtl.shared import shared


class ArchonAxi(wiring.Component):
    """Runs programs out of memory on AXI4, told by registers on AXI4-Lite (hw.contract.registers).

    After an error no further address is issued and outstanding transactions are completed. While no run goes on the accelerator
    is in reset and nothing is issued: a start always finds it the same.

    Members: `registers`, `memory`; `interrupt`, high while control.interrupt_enable and status.done or status.error are.
    """

    registers: Any
    memory: Any
    interrupt: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        super().__init__({"registers": In(AXI_LITE), "memory": Out(AXI), "interrupt": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank: Any = RegisterBank()
        m.submodules.bank = bank
        m.submodules.control = control = RunControl()
        m.submodules.counters = counters = Counters()
        m.submodules.reads = reads = ReadMaster()
        m.submodules.writes = writes = WriteMaster()
        m.submodules.reporter = reporter = ResetInserter(control.stop)(ReportWriter())
        m.submodules.recorder = recorder = ResetInserter(control.stop)(ReportWriter(ACTIVITY))
        m.submodules.write_arbiter = arbiter = ResetInserter(control.stop)(StreamArbiter(BYTE_WRITE, 3))
        halted = Signal()
        m.d.comb += halted.eq(~control.running)
        archon = shared(m, "archon", "archon", archon_signature(self._config), halted)

        wiring.connect(m, wiring.flipped(self.registers), bank.bus)
        forward(m, self.memory, reads.axi)
        forward(m, self.memory, writes.axi)
        self._registers(m, bank, control, counters)

        # Reads.
        wiring.connect(m, archon.read_request, reads.read_request)
        wiring.connect(m, reads.read_data, archon.read_data)
        m.d.comb += [
            reads.base.eq(bank.memory_base.address),
            reads.window.base.eq(bank.read_base.address),
            reads.window.limit.eq(bank.read_limit.address),
            reads.stop.eq(halted),
        ]

        # Writes: of the clusters, reports, and what units did.
        of_clusters, written = arbiter.inputs[0], archon.write.payload
        writing = Signal()
        m.d.comb += [
            of_clusters.payload.address.eq(word_address(bank.memory_base.address, written.address)),
            of_clusters.payload.data.eq(written.data),
            of_clusters.payload.strobe.eq(written.strobe),
            of_clusters.valid.eq(archon.write.valid),
            archon.write.ready.eq(of_clusters.ready),
            writes.window.base.eq(bank.write_base.address),
            writes.window.limit.eq(bank.write_limit.address),
            writes.stop.eq(halted),
            writing.eq(~arbiter.idle | writes.busy | reporter.busy | recorder.busy),
            archon.writes_pending.eq(writing),
            reporter.start.eq(control.starting),
            reporter.base.eq(bank.report_base.address),
            reporter.capacity.eq(bank.report_capacity.reports),
            recorder.start.eq(control.starting),
            recorder.base.eq(bank.activity_base.address),
            recorder.capacity.eq(bank.activity_capacity.rows),
        ]
        wiring.connect(m, reporter.writes, arbiter.inputs[1])
        wiring.connect(m, archon.report, reporter.reports)
        wiring.connect(m, recorder.writes, arbiter.inputs[2])
        wiring.connect(m, archon.activity, recorder.reports)
        wiring.connect(m, arbiter.output, writes.writes)

        # The run.
        job_ended = archon.report.valid & archon.report.ready
        wiring.connect(m, control.command, archon.command)
        for failure, source in zip(control.failures, (reads.failed, writes.failed, reads.outside, writes.outside), strict=True):
            m.d.comb += [failure.valid.eq(source.valid), failure.address.eq(source.address)]
        m.d.comb += [
            control.bad_descriptor.eq(archon.error),
            control.bad_tables.eq(archon.bad_tables),
            control.index.eq(archon.error_index),
            control.accelerator_busy.eq(archon.busy),
            control.memory_busy.eq(reads.busy | writes.busy),
            control.writing.eq(writing),
            control.progress.eq(reads.word_taken | writes.word_taken | job_ended),
            counters.clear.eq(control.starting),
            counters.running.eq(control.busy),
            counters.word_read.eq(reads.word_taken),
            counters.word_written.eq(writes.word_taken),
            counters.job_ended.eq(job_ended),
            counters.row.eq(archon.activity.valid & archon.activity.ready),
            counters.report.eq(archon.report.payload),
            counters.snapshot.eq(control.ending | bank.control.snapshot),
        ]
        return m

    def _registers(self, m: Module, bank: Any, control: RunControl, counters: Counters) -> None:
        for name, fields in constants(self._config).items():
            m.d.comb += [getattr(bank, name)[field].eq(value) for field, value in fields.items()]
        for register in COUNTERS:
            m.d.comb += getattr(bank, register.name).eq(getattr(counters, register.name))
        m.d.comb += [
            bank.busy.eq(control.busy),
            bank.status.busy.eq(control.busy),
            bank.status.done.eq(control.done),
            bank.status.error.eq(control.error),
            bank.error_code.code.eq(control.code),
            bank.error_address.address.eq(control.address),
            bank.error_descriptor.index.eq(control.descriptor),
            control.clear_done.eq(bank.status_clear.done),
            control.clear_error.eq(bank.status_clear.error),
            control.start.eq(bank.control.start),
            control.abort.eq(bank.control.abort),
            control.program.eq(bank.program_address.word),
            control.stall_limit.eq(bank.stall_limit.cycles),
            self.interrupt.eq(bank.control.interrupt_enable & (control.done | control.error)),
        ]
