"""The windows that the host sets: what the buses may issue, whatever the program, the memory and the host do."""

from typing import Any

from amaranth.asserts import AnySeq
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from formal.bench import Bench, Inside
from formal.order import QueueContents
from hw.contract.axi import BURST_WORDS_MAX, BYTE_ADDRESS_BITS, WORD_BYTES, Response
from hw.contract.config import ArchonConfig
from hw.contract.registers import BY_NAME, OFFSETS, REGISTER_BITS, REGISTER_BYTES
from hw.rtl.arbiter import QUEUE_DEPTH
from hw.rtl.archon import archon_signature
from hw.rtl.axi.archon_axi import ArchonAxi
from hw.rtl.axi.burst_splitter import BYTE_INDEX_BITS
from hw.rtl.axi.interfaces import BEAT_SIZE, INCREMENTING, WIDE_ADDRESS_BITS

PAGE_BITS = 12
"""An AXI burst must not leave an aligned page of 2**12 bytes."""

WINDOWS = ("read_base", "read_limit", "write_base", "write_limit")
"""Registers that say what may be read and written."""


class AnyAccelerator(wiring.Component):
    """Stands in for the accelerator: anything on any output, in every cycle anew."""

    def __init__(self, config: ArchonConfig) -> None:
        super().__init__(archon_signature(config))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002, D102
        m = Module()
        m.d.sync += Signal(name="clocked").eq(1)  # for a clock and a reset among the ports
        for _, member, value in self.signature.flatten(self):
            if member.flow is Out:
                m.d.comb += Value.cast(value).eq(AnySeq(len(Value.cast(value))))
        return m


def windows(config: ArchonConfig) -> Bench:
    """Every burst on AR and AW lies in the window that the host set last, and in a page; none is on offer without a run.

    Nothing is assumed of host, memory and accelerator. What the host set is followed on the register port: a write counts if
    it is answered with OKAY. While a run goes on no window changes. What is offered stays until it is taken.
    """
    bench = Bench()
    unit = ArchonAxi(config)
    inside = bench.inside(unit)
    bench.modules["archon"] = AnyAccelerator(config)
    for bus in (unit.registers, unit.memory):
        bench.free(*(getattr(bus, name) for name, member in bus.signature.members.items() if member.flow is In))

    state = inside.register("control.fsm_state")
    idle = bench.let(state == 0, name="idle")
    host = _Host(bench, unit.registers, inside)
    seen = {name: host.last(name) for name in WINDOWS}
    for name, value in seen.items():
        bench.check(value == inside.register(f"bank.{name}_address_kept"))
        bench.check(idle | bench.before(idle) | (value == bench.before(value)))

    memory: Any = unit.memory
    for channel, kind in (("ar", "read"), ("aw", "write")):
        address, length = (getattr(memory, channel + name) for name in ("addr", "len"))
        size = WORD_BYTES * (length + 1)
        end, offered = bench.let(address + size, name=f"{kind}_end"), getattr(memory, f"{channel}valid")
        with bench.m.If(offered):
            bench.check(~idle)
            bench.check((address >= seen[f"{kind}_base"]) & (end <= seen[f"{kind}_limit"]) & (end <= 1 << BYTE_ADDRESS_BITS))
            bench.check((address[:BYTE_INDEX_BITS] == 0) & (address[:PAGE_BITS] + size <= 1 << PAGE_BITS))
            bench.check(getattr(memory, f"{channel}size") == BEAT_SIZE)
            bench.check(getattr(memory, f"{channel}burst") == INCREMENTING)
        bench.cover(offered & (end == seen[f"{kind}_limit"]) & (seen[f"{kind}_base"] == address))
        bench.cover(offered & (end == 1 << BYTE_ADDRESS_BITS))
    bench.check(~memory.wvalid | ~idle)
    for channel, names in (("ar", ("addr", "len")), ("aw", ("addr", "len")), ("w", ("data", "strb", "last"))):
        offered, meant = getattr(memory, f"{channel}valid"), Cat(getattr(memory, channel + name) for name in names)
        waits = bench.before(offered & ~getattr(memory, f"{channel}ready"))
        bench.check(~waits | (offered & (meant == bench.before(meant))))
    _held_inside(bench, inside, idle, seen)
    bench.cover(memory.arvalid & (memory.arlen == BURST_WORDS_MAX - 1))
    bench.cover(host.refused & ~idle & memory.arvalid & (host.word == OFFSETS["read_limit"] // REGISTER_BYTES))
    bench.cover(idle & ~bench.before(idle) & inside.register("control.error"))
    return bench


def _held_inside(bench: Bench, inside: Inside, idle: Value, seen: dict[str, Signal]) -> None:
    """Induction: what waits on the way to the address channels lies where it may."""
    for path, kind in (("reads", "read"), ("writes", "write")):
        burst, offered = inside.register(f"{path}.guard.output__payload"), inside.register(f"{path}.guard.output__valid")
        address, words = burst[:WIDE_ADDRESS_BITS], burst[WIDE_ADDRESS_BITS:][: BURST_WORDS_MAX.bit_length()]
        end = address + WORD_BYTES * words
        place = address[BYTE_INDEX_BITS:] % BURST_WORDS_MAX
        bench.check(~(offered & idle))
        with bench.m.If(offered):
            bench.check((address >= seen[f"{kind}_base"]) & (end <= seen[f"{kind}_limit"]) & (end <= 1 << BYTE_ADDRESS_BITS))
            bench.check((address[:BYTE_INDEX_BITS] == 0) & (words != 0) & (place + words <= BURST_WORDS_MAX))
            if kind == "write":
                bench.check(words == 1)
    bench.check(inside.register("reads.splitter.address")[:BYTE_INDEX_BITS] == 0)
    for writer in ("reporter", "recorder"):
        bench.check(inside.register(f"{writer}.address")[:BYTE_INDEX_BITS] == 0)
    waiting = QueueContents(inside, "write_arbiter.waiting", QUEUE_DEPTH)
    for position in range(QUEUE_DEPTH):
        bench.check((waiting.level <= position) | (waiting.item(position)[:BYTE_INDEX_BITS] == 0))


class _Host:
    """What the host writes, seen on the register port.

    Members: `word` of the last write; `refused`, it was answered with an error, in the first cycle of the answer.
    """

    def __init__(self, bench: Bench, bus: Any, inside: Inside) -> None:
        m = bench.m
        self._bench = bench
        self.word = Signal(len(bus.awaddr) - (REGISTER_BYTES - 1).bit_length(), name="written_word")
        self._data, self._strobe = Signal(REGISTER_BITS, name="written_data"), Signal(REGISTER_BYTES, name="written_strobe")
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += self.word.eq(bus.awaddr >> (REGISTER_BYTES - 1).bit_length())
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [self._data.eq(bus.wdata), self._strobe.eq(bus.wstrb)]
        answered = bench.let(bus.bvalid & ~bench.before(bus.bvalid), name="answered")
        self._accepted = bench.let(answered & (bus.bresp == Response.OKAY), name="accepted")
        self.refused = bench.let(answered & (bus.bresp != Response.OKAY), name="refused")
        bench.check(inside.register("bank.word") == self.word)
        bench.check((inside.register("bank.value") == self._data) & (inside.register("bank.strobe") == self._strobe))

    def last(self, name: str) -> Signal:
        """The value that the host gave a register, as of this cycle."""
        m, register = self._bench.m, BY_NAME[name]
        before, now = (Signal(register.words * REGISTER_BITS, name=f"{name}_{when}") for when in ("before", "now"))
        mask = Cat(bit.replicate(8) for bit in self._strobe)
        m.d.sync += before.eq(now)
        for half in range(register.words):
            old = before.word_select(half, REGISTER_BITS)
            here = self._accepted & (self.word == OFFSETS[name] // REGISTER_BYTES + half)
            merged = Mux(here, (old & ~mask) | (self._data & mask), old)
            m.d.comb += now.word_select(half, REGISTER_BITS).eq(merged)
        return self._bench.let(now[: register.layout.width], name=f"{name}_set")
