"""Work that a benchmark measures in a process of its own: python -m sim.tasks NAME ARGUMENT... prints its seconds."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from hw.contract.config import ArchonConfig
from sim.verilog import unit_verilog
from sw.bundle import load_bundle
from sw.datasets import load_excerpt
from sw.golden import run


def write_verilog(config: str) -> Callable[[], object]:
    """Write the accelerator of a configuration (JSON) as Verilog."""
    parsed = TypeAdapter(ArchonConfig).validate_json(config)
    return lambda: unit_verilog("archon", parsed)


def golden_fused(bundle: str, images: str) -> Callable[[], object]:
    """Run the golden model on so many images as the accelerator computes them, with all counters."""
    network, tensors = load_bundle(Path(bundle)), load_excerpt().images[: int(images)]
    return lambda: run(network, tensors, "fused")


def golden_layerwise(bundle: str, images: str) -> Callable[[], object]:
    """Run it layer by layer, for the classes alone."""
    network, tensors = load_bundle(Path(bundle)), load_excerpt().images[: int(images)]
    return lambda: run(network, tensors, "layerwise", statistics=False)


TASKS: dict[str, Callable[..., Callable[[], object]]] = {
    "verilog": write_verilog,
    "golden_fused": golden_fused,
    "golden_layerwise": golden_layerwise,
}
"""Each prepares its work from the arguments and gives the function that is timed."""

if __name__ == "__main__":
    work = TASKS[sys.argv[1]](*sys.argv[2:])
    started = time.perf_counter()
    work()
    print(time.perf_counter() - started)
