"""What every proof is made of: a bench whose inputs are free, rules of streams, and a look inside a unit."""

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Const, Cover, Fragment, Module, ResetSignal, Shape, ShapeLike, Signal, Value, ValueLike
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import stream, wiring

PLATFORM = "formal"
"""With it, Amaranth's queues state what holds between their registers, which induction needs."""


class Inside:
    """A unit of a bench, elaborated, so that its registers and memories can be named in properties.

    Parameters: `component`. A path names units, then a signal or memory: "membership.storage".

    Members: `fragment`, for the bench's submodules.
    """

    def __init__(self, component: wiring.Component) -> None:
        self.fragment = Fragment.get(component, PLATFORM)

    def register(self, path: str) -> Signal:
        """The register of this name. Raises KeyError where the unit has none, or several."""
        *units, name = path.split(".")
        registers = self._unit(units).statements["sync"]._lhs_signals()  # noqa: SLF001
        found = [signal for signal in registers if signal.name == name]
        if len(found) != 1:
            raise KeyError(f"expected one register {path}, found {len(found)}")
        return found[0]

    def shown(self, path: str) -> Value:
        """What the first read port of a memory shows."""
        port = self._memory(path)._read_ports[0]  # noqa: SLF001
        return port._data  # noqa: SLF001

    def row(self, path: str, address: ValueLike) -> Signal:
        """A row of a memory, in the same cycle: a read port is added."""
        storage = self._memory(path)
        contents = storage._data  # noqa: SLF001
        row = Signal(Shape.cast(contents.shape).width, name=f"{path.replace('.', '_')}_row")
        bits = max(0, (contents.depth - 1).bit_length())
        storage.read_port(domain="comb", addr=Value.cast(address)[:bits], data=row, en=Const(1), transparent_for=())
        return row

    def _memory(self, path: str) -> MemoryInstance:
        storage = self._unit(path.split("."))
        if not isinstance(storage, MemoryInstance):
            raise KeyError(f"expected a memory {path}, found another unit")
        return storage

    def _unit(self, path: list[str]) -> Fragment:
        fragment = self.fragment
        for name in path:
            fragment = fragment.find_subfragment(name)
        return fragment


class Bench:
    """A module without inputs: what is not assumed may happen, in every cycle anew. Reset stays low after the first state.

    Members: `m`, the module; `modules`, what stands in for modules that a unit instantiates by name (hw.rtl.shared).
    """

    def __init__(self) -> None:
        self.m = Module()
        self.modules: dict[str, wiring.Component] = {}
        self.assume(~ResetSignal())

    def inside(self, component: wiring.Component, name: str = "unit") -> Inside:
        """Make a component part of the bench."""
        unit = Inside(component)
        self.m.submodules[name] = unit.fragment
        return unit

    def check(self, holds: ValueLike) -> None:
        """What is proven, in every cycle; inside `m.If`, where its condition is met."""
        self.m.d.comb += Assert(holds, src_loc_at=1)

    def assume(self, holds: ValueLike) -> None:
        """What the proof takes for granted."""
        self.m.d.comb += Assume(holds, src_loc_at=1)

    def cover(self, happens: ValueLike) -> None:
        """What must be possible, lest the assumptions exclude everything."""
        self.m.d.comb += Cover(happens, src_loc_at=1)

    def let(self, value: ValueLike, shape: ShapeLike | None = None, name: str = "value") -> Signal:
        """A name for an expression."""
        named = Signal(Value.cast(value).shape() if shape is None else shape, name=name)
        self.m.d.comb += named.eq(value)
        return named

    def before(self, value: Value) -> Signal:
        """The value one cycle ago, 0 in the first one."""
        register = Signal(value.shape())
        self.m.d.sync += register.eq(value)
        return register

    def free(self, *inputs: ValueLike) -> None:
        """Inputs that take any value in every cycle."""
        for value in map(Value.cast, inputs):
            self.m.d.comb += value.eq(AnySeq(len(value)))

    def any_bit(self, name: str) -> Signal:
        """A bit of any value in every cycle."""
        bit = Signal(name=name)
        self.free(bit)
        return bit

    def constant(self, shape: ShapeLike, name: str) -> Signal:
        """Any value, the same in all cycles."""
        value = Signal(shape, name=name)
        self.m.d.comb += value.eq(AnyConst(len(value)))
        return value

    def fixed(self, *inputs: ValueLike) -> None:
        """Inputs that take any value, the same in all cycles."""
        for value in map(Value.cast, inputs):
            self.m.d.comb += value.eq(AnyConst(len(value)))

    def offers(self, source: stream.Interface) -> None:
        """Assume a stream into the unit: any payloads at any time, but an offer stands until it is taken."""
        self.free(source.payload, source.valid)
        self.assume(self._steady(source, source.payload))

    def takes(self, sink: stream.Interface, means: ValueLike | None = None) -> None:
        """A stream out of the unit, taken at any time; an offer must stand until then, with all that its payload `means`."""
        self.free(sink.ready)
        self.check(self._steady(sink, sink.payload if means is None else means))

    def _steady(self, offered: stream.Interface, means: ValueLike) -> Value:
        waits = self.before(offered.valid & ~offered.ready)
        return ~waits | (offered.valid & (Value.cast(means) == self.before(Value.cast(means))))


def moves(offered: stream.Interface) -> Value:
    """A payload is handed over in this cycle."""
    return offered.valid & offered.ready
