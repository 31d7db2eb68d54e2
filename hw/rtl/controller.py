"""Walks a program of job descriptors and hands the jobs to the clusters and the image unit."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.config import ADDRESS_BITS, ArchonConfig
from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB_BITS
from hw.contract.descriptor import JOB as JOB_LAYOUT
from hw.contract.layout import WORD_BITS
from hw.rtl.descriptor_check import DescriptorCheck
from hw.rtl.interfaces import COMMAND, JOB, READ_DATA, READ_REQUEST


class Controller(wiring.Component):
    """Runs one program a command: fetches a descriptor, offers the job, fetches the next.

    A job with a barrier raises `hold`; jobs taken while it is high do not start before it falls, which is when all jobs before
    the barrier are done. A further barrier waits for that.

    Parameters: `config`.

    Members: `command` in, taken while not `busy`; `read_request`, `read_data`; `jobs[i]` stream of cluster i's jobs, the last
    one of the image unit's, which counts as a cluster here; `hold`; `idle` bit i low while cluster i has work that is not
    held: from the cycle after it took such a job, or in which `hold` fell, until it has handed over its last write;
    `writes_idle`: memory has accepted all writes; `busy` from the cycle after a command until its program has ended and
    everything is idle; `error`: a descriptor named a cluster that does not exist or broke a rule of hw.contract.rules, or the
    program went on after 2**JOB_BITS - 1 jobs; it ended there; `index` its number in the program, from 0. Cleared by the next
    command.

    Throughput: one memory latency and about 30 cycles from job to job. Stalls with the cluster that a job is for.
    """

    command: stream.Interface
    read_request: stream.Interface
    read_data: stream.Interface
    jobs: list[stream.Interface]
    hold: Signal
    idle: Signal
    writes_idle: Signal
    busy: Signal
    error: Signal
    index: Signal

    def __init__(self, config: ArchonConfig) -> None:
        self._config = config
        self._units = config.clusters + 1
        super().__init__(
            {
                "command": In(COMMAND),
                "read_request": Out(READ_REQUEST),
                "read_data": In(READ_DATA),
                "jobs": Out(stream.Signature(JOB)).array(self._units),
                "hold": Out(1),
                "idle": In(self._units),
                "writes_idle": In(1),
                "busy": Out(1),
                "error": Out(1),
                "index": Out(JOB_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address = Signal(ADDRESS_BITS)
        descriptor = Signal(JOB_LAYOUT.words * WORD_BITS)
        job = JOB(descriptor[: JOB_LAYOUT.width])
        m.submodules.check = check = DescriptorCheck(self._config)
        chosen, all_idle, release, offering = Signal(self._units), Signal(), Signal(), Signal()
        m.d.comb += [
            self.read_request.payload.address.eq(address),
            self.read_request.payload.length.eq(JOB_LAYOUT.words),
            chosen.eq(Cat(job.cluster == index for index in range(self._units))),
            check.job.eq(job),
        ]
        # What `idle` said before `hold` falls is of no use afterwards.
        m.d.comb += release.eq(self.hold & all_idle)
        m.d.sync += all_idle.eq(self.idle.all() & self.writes_idle & ~release)
        with m.If(release):
            m.d.sync += self.hold.eq(0)
        for index, offered in enumerate(self.jobs):
            m.d.comb += [Value.cast(offered.payload).eq(job.as_value()), offered.valid.eq(offering & chosen[index])]

        # A word is kept before it goes to its place.
        coming, placed, word = Signal(JOB_LAYOUT.words), Signal(JOB_LAYOUT.words), Signal(WORD_BITS)
        m.d.sync += [word.eq(self.read_data.payload), placed.eq(0)]
        for index, place in enumerate(placed):
            with m.If(place):
                m.d.sync += descriptor.word_select(index, WORD_BITS).eq(word)

        with m.FSM() as control:
            m.d.comb += self.busy.eq(~control.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                with m.If(self.command.valid):
                    m.d.sync += [address.eq(self.command.payload.program_address), self.error.eq(0), self.index.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.read_request.valid.eq(1)
                m.d.sync += coming.eq(1)
                with m.If(self.read_request.ready):
                    m.d.sync += address.eq(address + DESCRIPTOR_WORDS)
                    m.next = "RECEIVE"
            with m.State("RECEIVE"):
                m.d.comb += self.read_data.ready.eq(1)
                with m.If(self.read_data.valid):
                    m.d.sync += [placed.eq(coming), coming.eq(coming << 1)]
                    with m.If(coming[-1]):
                        m.next = "PLACE"
            with m.State("PLACE"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += check.start.eq(1)
                m.next = "FINISH"
                with m.If(~job.end):
                    m.next = "DECODE"
            with m.State("DECODE"):
                with m.If(~check.done):
                    pass
                with m.Elif(~chosen.any() | check.bad | self.index.all()):
                    m.d.sync += self.error.eq(1)
                    m.next = "FINISH"
                with m.Elif(~(job.barrier & self.hold)):
                    with m.If(job.barrier):
                        m.d.sync += self.hold.eq(1)
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += offering.eq(1)
                with m.If((chosen & Cat(offered.ready for offered in self.jobs)).any()):
                    m.d.sync += self.index.eq(self.index + 1)
                    m.next = "FETCH"
            with m.State("FINISH"):
                with m.If(all_idle & ~self.hold):
                    m.next = "IDLE"
        return m
