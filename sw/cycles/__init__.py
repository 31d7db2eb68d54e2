"""A model of the accelerator's time: cycles of all layers, from the golden model's masks and the hardware's structure."""

from sw.cycles.model import network_cycles

__all__ = ["network_cycles"]
