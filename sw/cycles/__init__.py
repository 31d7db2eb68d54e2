"""A model of the accelerator's time: cycles of fused blocks, from the golden model's masks and the hardware's structure."""

from sw.cycles.model import fused_cycles

__all__ = ["fused_cycles"]
