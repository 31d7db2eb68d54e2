"""The register map of the contract on an AXI4-Lite port."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import Response
from hw.contract.registers import OFFSETS, REGISTER_BITS, REGISTER_BYTES, REGISTERS, Access, Register
from hw.rtl.axi.interfaces import AXI_LITE
from hw.rtl.interfaces import struct


class RegisterBank(wiring.Component):
    """What hw.contract.registers lists, at its offsets.

    A write to registers without a field to write, to locked ones while `busy`, or to an offset without a register changes
    nothing and is answered with SLVERR; so is a read at an offset without a register, with zeros. Byte strobes count; the
    lowest two address bits do not.

    Members: `bus` AXI4-Lite; one struct for each register, under its name: out where the host sets the fields (pulses high for
    one cycle), else in; NAME_clear out, where the host clears fields of an inward register: high for one cycle; `busy` in.

    Latency: a read's data 1 cycle after its address; a write's effect 1 cycle and its response 2 cycles after both its
    address and its data. Throughput 1 read in 2 cycles, 1 write in 3. Stalls with the responses' ready; no output depends on an
    input in the same cycle.
    """

    bus: Any
    busy: Signal

    def __init__(self) -> None:
        members = {"bus": In(AXI_LITE), "busy": In(1)}
        for register in REGISTERS:
            shape = struct(register.layout)
            members[register.name] = Out(shape) if register.inward else In(shape)
            if register.writable and not register.inward:
                members[f"{register.name}_clear"] = Out(shape)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._reads(m)
        write, word, value, mask = self._writes(m)
        allowed = Signal()
        for register in REGISTERS:
            if not register.writable:
                continue
            first = OFFSETS[register.name] // REGISTER_BYTES
            for half in range(register.words):
                with m.If(word == first + half):
                    m.d.comb += allowed.eq(~self.busy if register.locked else 1)
            hits = [write & allowed & (word == first + half) for half in range(register.words)]
            self._fields(m, register, Cat(Mux(hit, mask, 0) for hit in hits), Cat(value for _ in hits))
        with m.If(write):
            m.d.sync += [self.bus.bvalid.eq(1), self.bus.bresp.eq(Mux(allowed, Response.OKAY, Response.SLVERR))]
        with m.Elif(self.bus.bready):
            m.d.sync += self.bus.bvalid.eq(0)
        return m

    def _reads(self, m: Module) -> None:
        bus = self.bus
        word, value, known = Signal(len(bus.araddr)), Signal(REGISTER_BITS), Signal()
        m.d.comb += [word.eq(bus.araddr >> (REGISTER_BYTES - 1).bit_length()), bus.arready.eq(~bus.rvalid)]
        with m.Switch(word):
            for register in REGISTERS:
                shown = self._readable(register)
                for half in range(register.words):
                    with m.Case(OFFSETS[register.name] // REGISTER_BYTES + half):
                        m.d.comb += [value.eq(shown[half * REGISTER_BITS :][:REGISTER_BITS]), known.eq(1)]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(value),
                bus.rresp.eq(Mux(known, Response.OKAY, Response.SLVERR)),
            ]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _readable(self, register: Register) -> Value:
        fields = getattr(self, register.name)
        return Cat(
            Signal(item.bits, name=f"{register.name}_zero") if item.access is Access.PULSE else fields[item.name]
            for item in register.fields
        )

    def _writes(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Whether a write takes effect in this cycle; its word offset, value and mask of the bits to be written."""
        bus = self.bus
        have_address, have_data, write = Signal(), Signal(), Signal()
        word = Signal(len(bus.awaddr))
        value, strobe = Signal(REGISTER_BITS, name="value"), Signal(REGISTER_BYTES, name="strobe")
        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        m.d.comb += write.eq(have_address & have_data & ~bus.bvalid)
        with m.If(write):
            m.d.sync += [have_address.eq(0), have_data.eq(0)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), word.eq(bus.awaddr >> (REGISTER_BYTES - 1).bit_length())]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), value.eq(bus.wdata), strobe.eq(bus.wstrb)]
        return write, word, value, Cat(bit.replicate(8) for bit in strobe)

    def _fields(self, m: Module, register: Register, mask: Value, value: Value) -> None:
        """Write the masked bits of a register, which has so many bits or fewer."""
        layout = register.layout
        for item in register.fields:
            start = layout.offsets[item.name]
            chosen, written = mask[start : start + item.bits], value[start : start + item.bits]
            if item.access is Access.SETTING:
                kept = Signal(item.bits, init=item.reset, name=f"{register.name}_{item.name}_kept")
                m.d.sync += kept.eq((kept & ~chosen) | (written & chosen))
                m.d.comb += getattr(self, register.name)[item.name].eq(kept)
            elif item.access is Access.PULSE:
                m.d.comb += getattr(self, register.name)[item.name].eq(written & chosen)
            elif item.access is Access.CLEARED:
                m.d.comb += getattr(self, f"{register.name}_clear")[item.name].eq(written & chosen)
