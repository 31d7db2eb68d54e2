"""Signatures of the buses and of what lies between them and the accelerator."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.axi import BURST_WORDS_MAX, BYTE_ADDRESS_BITS, ID_BITS, WORD_BYTES
from hw.contract.layout import WORD_BITS
from hw.contract.registers import REGISTER_ADDRESS_BITS, REGISTER_BITS, REGISTER_BYTES

WIDE_ADDRESS_BITS = BYTE_ADDRESS_BITS + 1
"""Byte addresses before they are checked: a base and a word's offset never wrap."""

AXI_LITE = wiring.Signature(
    {
        "awaddr": Out(REGISTER_ADDRESS_BITS),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(REGISTER_BITS),
        "wstrb": Out(REGISTER_BYTES),
        "wvalid": Out(1),
        "wready": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        "araddr": Out(REGISTER_ADDRESS_BITS),
        "arvalid": Out(1),
        "arready": In(1),
        "rdata": In(REGISTER_BITS),
        "rresp": In(2),
        "rvalid": In(1),
        "rready": Out(1),
    }
)
"""The host's register port, seen from the host. Names are AXI's."""

AXI_READ = wiring.Signature(
    {
        "arid": Out(ID_BITS),
        "araddr": Out(BYTE_ADDRESS_BITS),
        "arlen": Out(8),
        "arsize": Out(3),
        "arburst": Out(2),
        "arcache": Out(4),
        "arprot": Out(3),
        "arvalid": Out(1),
        "arready": In(1),
        "rid": In(ID_BITS),
        "rdata": In(WORD_BITS),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
)
"""The reading half of the memory port, seen from the accelerator."""

AXI_WRITE = wiring.Signature(
    {
        "awid": Out(ID_BITS),
        "awaddr": Out(BYTE_ADDRESS_BITS),
        "awlen": Out(8),
        "awsize": Out(3),
        "awburst": Out(2),
        "awcache": Out(4),
        "awprot": Out(3),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(WORD_BITS),
        "wstrb": Out(WORD_BYTES),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(ID_BITS),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }
)
"""The writing half."""

AXI = wiring.Signature({**dict(AXI_READ.members.items()), **dict(AXI_WRITE.members.items())})
"""The whole memory port."""

BEAT_SIZE = (WORD_BYTES - 1).bit_length()
"""ARSIZE and AWSIZE of a beat."""

INCREMENTING = 1
"""ARBURST and AWBURST of a burst of ascending addresses."""

CACHE = 0b0011
"""ARCACHE and AWCACHE: ordinary memory that is not cached here."""

PROTECTION = 0b010
"""ARPROT and AWPROT: data, not secure, not privileged."""

BURST_MEMBERS = {"address": WIDE_ADDRESS_BITS, "words": range(BURST_WORDS_MAX + 1)}
"""A burst of at least one word, not yet checked."""

BURST = stream.Signature(data.StructLayout(BURST_MEMBERS))

WRITE_MEMBERS = {"address": WIDE_ADDRESS_BITS, "data": WORD_BITS, "strobe": WORD_BYTES}

BYTE_WRITE = stream.Signature(data.StructLayout(WRITE_MEMBERS))
"""Bytes of the word at a byte address, not yet checked."""

WINDOW = wiring.Signature({"base": Out(WIDE_ADDRESS_BITS), "limit": Out(WIDE_ADDRESS_BITS)})
"""Byte addresses from `base` to before `limit`."""

FAILURE = wiring.Signature({"valid": Out(1), "address": Out(WIDE_ADDRESS_BITS)})
"""For one cycle: something went wrong at a byte address."""


def forward(m: Module, outer: wiring.PureInterface, inner: wiring.PureInterface) -> None:
    """Make `inner`'s bus a part of `outer`'s, which lacks none of its members and is a port of the component itself."""
    for name, member in inner.signature.members.items():
        source, sink = (inner, outer) if member.flow is Out else (outer, inner)
        m.d.comb += getattr(sink, name).eq(getattr(source, name))
