"""Register bank: every register and field against a model, under pauses of all five channels."""

from typing import Any

import cocotb

from hw.contract.axi import Response
from hw.contract.registers import (
    OFFSETS,
    REGISTER_ADDRESS_BITS,
    REGISTER_BITS,
    REGISTER_BYTES,
    REGISTERS,
    Access,
    Register,
)
from tb.axi_bus import register_port
from tb.bench import Bench
from tb.edges import every_cycle, number
from tb.streams import PATTERNS

ACCESSES = 400
WORD = (1 << REGISTER_BITS) - 1


class Model:
    """What the host should see, and what the inside should."""

    def __init__(self, bench: Bench) -> None:
        self._dut = bench.dut
        self.values = {register.name: register.reset for register in REGISTERS if register.inward}
        self.pulses: list[tuple[str, int]] = []
        for register in REGISTERS:
            if not register.inward:
                self.values[register.name] = bench.random.getrandbits(register.layout.width)
                bench.dut[register.name].value = self.values[register.name]

    def write(self, offset: int, data: int, mask: int, busy: bool) -> Response:
        """Apply a write of the masked bits of the 32 at `offset`."""
        found = at(offset)
        if found is None or not found[0].writable or (found[0].locked and busy):
            return Response.SLVERR
        register, half = found
        mask, data = mask << (half * REGISTER_BITS), data << (half * REGISTER_BITS)
        settings = bits_of(register, Access.SETTING) & mask
        if register.inward:
            self.values[register.name] = (self.values[register.name] & ~settings) | (data & settings)
            pulsed = data & mask & bits_of(register, Access.PULSE)
            name = register.name
        else:
            pulsed = data & mask & bits_of(register, Access.CLEARED)
            name = f"{register.name}_clear"
        if pulsed:
            self.pulses.append((name, pulsed))
        return Response.OKAY

    def read(self, offset: int) -> tuple[Response, int]:
        """What a read at `offset` gives."""
        found = at(offset)
        if found is None:
            return Response.SLVERR, 0
        register, half = found
        return Response.OKAY, self.values[register.name] >> (half * REGISTER_BITS) & WORD

    def check(self) -> None:
        """The inside sees what was set."""
        for register in REGISTERS:
            if register.inward:
                shown = int(self._dut[register.name].value) & bits_of(register, Access.SETTING)
                assert shown == self.values[register.name], f"{register.name}: {self.values[register.name]} set, {shown} shown"


class Pulses:
    """Collects the pulses: (port, bits) of every cycle in which any is high."""

    def __init__(self, dut: Any) -> None:
        self.seen: list[tuple[str, int]] = []
        ports = [(item.name, bits_of(item, Access.PULSE)) for item in REGISTERS if item.inward]
        ports += [(f"{item.name}_clear", bits_of(item, Access.CLEARED)) for item in REGISTERS if not item.inward]
        self._ports = [(name, number(dut[name]), bits) for name, bits in ports if bits]
        every_cycle(dut, self._step)

    def _step(self, reset: bool) -> None:
        if not reset:
            values = [(name, read() & bits) for name, read, bits in self._ports]
            self.seen += [(name, value) for name, value in values if value]


@cocotb.test()
@cocotb.parametrize(held=list(PATTERNS))
async def every_access_is_the_models(dut: Any, held: str) -> None:
    """Random reads and writes of any byte lanes, at registers and behind them, while busy and not."""
    bench = Bench(dut, "registers", held, held)
    host = register_port(dut, "bus", held, bench.random)
    model, pulses, rng = Model(bench), Pulses(dut), bench.random
    dut.busy.value = 0
    await bench.reset()
    model.check()
    end = max(OFFSETS.values()) + 2 * REGISTER_BYTES
    for _ in range(ACCESSES):
        dut.busy.value = busy = rng.random() < 0.3
        word = REGISTER_BYTES * rng.randrange((end + 8) // REGISTER_BYTES)
        if rng.random() < 0.05:
            word = REGISTER_BYTES * rng.randrange((1 << REGISTER_ADDRESS_BITS) // REGISTER_BYTES)
        if rng.random() < 0.5:
            first = rng.randrange(REGISTER_BYTES)
            count = rng.choice([REGISTER_BYTES - first, rng.randint(1, REGISTER_BYTES - first)])
            data = rng.getrandbits(8 * count)
            mask = ((1 << (8 * count)) - 1) << (8 * first)
            answer = await host.write(word + first, data.to_bytes(count, "little"))
            expected = model.write(word, data << (8 * first), mask, bool(busy))
            assert answer.resp == expected, f"write at {word:#x}, busy {busy}: {expected!r} expected, got {answer.resp!r}"
        else:
            got = await host.read(word, REGISTER_BYTES)
            response, value = model.read(word)
            assert (got.resp, int.from_bytes(got.data, "little")) == (response, value), (
                f"read at {word:#x}: {got}, not {value:#x}"
            )
        model.check()
    await bench.cycles(5)
    assert pulses.seen == model.pulses, "pulses differ"


@cocotb.test()
async def both_halves_and_both_directions(dut: Any) -> None:
    """Every word of every register once, all bits set, then all clear."""
    bench = Bench(dut, "all registers")
    host = register_port(dut, "bus", "never", bench.random)
    model = Model(bench)
    dut.busy.value = 0
    await bench.reset()
    for data in (WORD, 0):
        for register in REGISTERS:
            for half in range(register.words):
                offset = OFFSETS[register.name] + REGISTER_BYTES * half
                answer = await host.write(offset, data.to_bytes(REGISTER_BYTES, "little"))
                assert answer.resp == model.write(offset, data, WORD, busy=False), register.name
                got = await host.read(offset, REGISTER_BYTES)
                assert (got.resp, int.from_bytes(got.data, "little")) == model.read(offset), register.name
        model.check()


def at(offset: int) -> tuple[Register, int] | None:
    """The register at a byte offset, and which half of it."""
    for register in REGISTERS:
        half, rest = divmod(offset - OFFSETS[register.name], REGISTER_BYTES)
        if 0 <= half < register.words and rest == 0:
            return register, half
    return None


def bits_of(register: Register, access: Access) -> int:
    """Mask of a register's fields with this access."""
    layout = register.layout
    return sum(((1 << item.bits) - 1) << layout.offsets[item.name] for item in register.fields if item.access is access)
