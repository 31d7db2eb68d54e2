"""Modules that occur many times are exported once and instantiated by name, which keeps Verilog and compile time small."""

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring


def shared(m: Module, module: str, instance: str, signature: wiring.Signature, reset: Value | int = 0) -> Any:
    """Instantiate the Verilog module `module` as submodule `instance` of `m`; returns the interface of its ports.

    `reset` resets this instance, besides the reset of everything.

    The module's text is that of a component with this signature, converted on its own under that name (see sim/verilog.py).
    """
    interface = signature.create(path=(instance,))
    ports: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal() | reset}
    member: Any
    for path, member, value in signature.flatten(interface):
        prefix = "i" if member.flow is wiring.In else "o"
        ports[f"{prefix}_{'__'.join(map(str, path))}"] = Value.cast(value)
    m.submodules[instance] = Instance(module, **ports)
    return interface
