"""The options of a whole-network run."""

import shlex
from dataclasses import asdict, dataclass
from typing import Literal

from hw.contract.memory import MEMORY_LATENCY
from sim.toolchain import Simulator

Bus = Literal["native", "axi"]
"""How memory and host reach the accelerator: over its own streams, or over AXI with the driver of sw.driver."""


@dataclass(frozen=True)
class Options:
    """What to run, and on what.

    Args:
        network: A known name or the path of a bundle.
        images: How many of the excerpt's images; 2 for small networks and 1 for large ones by default.
        lanes: Lanes of the accelerator; as many as its preset has by default.
        seed: Chooses the images.
        waves: Record waveforms.
        simulator: "verilator" or "icarus".
        preset: The accelerator's configuration; the smallest that fits by default.
        latency: Of external memory, in cycles.
        bus: "native", or "axi" for the accelerator on its buses with the host's driver.
        flip_bit: Invert this bit of the tables in memory, counted from their first word: a run that must FAIL.
        kernel: Largest kernel of the accelerator; what the network needs by default, or the preset's where one is named.
        trace: Write what the units did in every cycle to trace.json.
    """

    network: str
    images: int | None = None
    lanes: int | None = None
    seed: int = 1
    waves: bool = False
    simulator: Simulator = "verilator"
    preset: str | None = None
    latency: int = MEMORY_LATENCY
    flip_bit: int | None = None
    bus: Bus = "native"
    trace: bool = False
    kernel: int | None = None

    def command(self) -> str:
        """Repeats the run."""
        if self.latency == MEMORY_LATENCY and self.flip_bit is None:
            given = {"NET": self.network, "IMAGES": self.images, "PRESET": self.preset, "LANES": self.lanes}
            given |= {"MAX_KERNEL": self.kernel, "SEED": self.seed}
            given |= {"WAVES": 1 if self.waves else None, "TRACE": 1 if self.trace else None}
            given |= {"SIM": None if self.simulator == "verilator" else self.simulator}
            given["BUS"] = None if self.bus == "native" else self.bus
            settings = [f"{name}={shlex.quote(str(value))}" for name, value in given.items() if value is not None]
            return " ".join(["make sim", *settings])
        words = [".venv/bin/python", "-m", "sim", "run", self.network]
        for name, value in asdict(self).items():
            if name != "network" and value not in (None, False, "native"):
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return shlex.join(words)
