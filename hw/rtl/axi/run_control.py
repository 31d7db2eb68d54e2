"""Starts a run, ends it, and stops it on the first error."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.registers import BY_NAME, ErrorCode
from hw.rtl.axi.interfaces import FAILURE, WIDE_ADDRESS_BITS
from hw.rtl.interfaces import COMMAND

FAILURES = (ErrorCode.READ_RESPONSE, ErrorCode.WRITE_RESPONSE, ErrorCode.READ_OUTSIDE, ErrorCode.WRITE_OUTSIDE)
"""Errors that come with an address, in the order of the failure ports."""

STALL_BITS = BY_NAME["stall_limit"].layout.width


class RunControl(wiring.Component):
    """The state of the run.

    Members: `start` (ignored while `busy`) sends `program` as a `command` and clears `done`, `error` and the error; `abort`
    (ignored unless `running`); `failures[i]` as in FAILURES; `bad_descriptor`, `bad_tables`, of which `index` says which;
    `accelerator_busy`; `memory_busy`: transactions
    are on offer or outstanding; `writing`: anything is on its way to memory; `progress`: the run came forward in this cycle;
    `stall_limit`.

    `starting` for the cycle of a start that counts; `busy` from then to `ending`, which is high for the last cycle of a run;
    `running` until it is at its end or stopped; from then on `stop`, for at least one cycle and until no transaction is
    outstanding: the accelerator is to be reset and memory's masters to be emptied meanwhile, so that no run leaves anything to
    the next one. `done` after the end of a run that was not stopped, `error` from 1 cycle after an error on, until
    `clear_done`, `clear_error` or a start; `code`, `address` and `descriptor` of the first error.
    """

    start: Signal
    abort: Signal
    program: Signal
    command: stream.Interface
    failures: Any
    bad_descriptor: Signal
    bad_tables: Signal
    index: Signal
    accelerator_busy: Signal
    memory_busy: Signal
    writing: Signal
    progress: Signal
    stall_limit: Signal
    clear_done: Signal
    clear_error: Signal
    starting: Signal
    ending: Signal
    busy: Signal
    running: Signal
    stop: Signal
    done: Signal
    error: Signal
    code: Signal
    address: Signal
    descriptor: Signal

    def __init__(self) -> None:
        inputs = (
            "start", "abort", "bad_descriptor", "bad_tables", "accelerator_busy", "memory_busy", "writing", "progress",
            "clear_done", "clear_error",
        )  # fmt: skip
        outputs = ("starting", "ending", "busy", "running", "stop", "done", "error")
        super().__init__(
            {
                **{name: In(1) for name in inputs},
                **{name: Out(1) for name in outputs},
                "program": In(BY_NAME["program_address"].layout.width),
                "command": Out(COMMAND),
                "failures": In(FAILURE).array(len(FAILURES)),
                "stall_limit": In(STALL_BITS),
                "code": Out(BY_NAME["error_code"].layout.width),
                "address": Out(WIDE_ADDRESS_BITS),
                "index": In(BY_NAME["error_descriptor"].layout.width),
                "descriptor": Out(BY_NAME["error_descriptor"].layout.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        failed, code, address = Signal(), Signal.like(self.code), Signal.like(self.address)
        self._first_error(m, failed, code, address)
        with m.If(self.clear_done):
            m.d.sync += self.done.eq(0)
        with m.If(self.clear_error):
            m.d.sync += self.error.eq(0)
        m.d.comb += self.command.payload.program_address.eq(self.program)
        with m.FSM() as run:
            m.d.comb += [
                self.busy.eq(~run.ongoing("idle")),
                self.stop.eq(run.ongoing("stopping")),
                self.running.eq(self.busy & ~self.stop),
            ]
            with m.State("idle"):
                m.d.comb += self.starting.eq(self.start)
                with m.If(self.start):
                    m.d.sync += [self.done.eq(0), self.error.eq(0), self.code.eq(ErrorCode.NONE), self.address.eq(0)]
                    m.d.sync += self.descriptor.eq(0)
                    m.next = "commanding"
            with m.State("commanding"):
                m.d.comb += self.command.valid.eq(1)
                with m.If(self.command.ready):
                    m.next = "running"
                self._give_up(m, failed, code, address)
            with m.State("running"):
                with m.If(~self.accelerator_busy & ~self.writing & ~self.memory_busy):
                    m.next = "stopping"
                self._give_up(m, failed, code, address)
            with m.State("stopping"):
                with m.If(~self.memory_busy):
                    m.d.comb += self.ending.eq(1)
                    m.d.sync += self.done.eq(self.code == ErrorCode.NONE)
                    m.next = "idle"
        return m

    def _give_up(self, m: Module, failed: Signal, code: Signal, address: Signal) -> None:
        with m.If(failed):
            m.d.sync += [self.error.eq(1), self.code.eq(code), self.address.eq(address)]
            with m.If((code == ErrorCode.DESCRIPTOR) | (code == ErrorCode.TABLES)):
                m.d.sync += self.descriptor.eq(self.index)
            m.next = "stopping"

    def _first_error(self, m: Module, failed: Signal, code: Signal, address: Signal) -> None:
        """What goes wrong in this cycle of a run, the lowest code first."""
        quiet = Signal(STALL_BITS)
        m.d.sync += quiet.eq(Mux(self.progress | ~self.running, 0, quiet + 1))
        stalled = (self.stall_limit != 0) & (quiet == self.stall_limit)
        sources = [(failure.valid, failure.address, known) for failure, known in zip(self.failures, FAILURES, strict=True)]
        sources += [(self.bad_descriptor, 0, ErrorCode.DESCRIPTOR), (stalled, 0, ErrorCode.STALLED)]
        sources += [(self.abort, 0, ErrorCode.ABORTED), (self.bad_tables, 0, ErrorCode.TABLES)]
        for valid, place, known in reversed(sources):
            with m.If(valid & self.running):
                m.d.comb += [failed.eq(1), code.eq(known), address.eq(place)]
