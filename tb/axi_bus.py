"""AXI agents with pauses on every channel by the named patterns."""

import logging
import random
from typing import Any

from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from tb.streams import pattern


def quiet() -> None:
    """Say nothing about single transactions."""
    for name in list(logging.root.manager.loggerDict):
        if "axi" in name:
            logging.getLogger(name).setLevel(logging.WARNING)


def register_port(dut: Any, prefix: str, held: str, rng: random.Random) -> AxiLiteMaster:
    """A host on the design's AXI4-Lite port whose five channels are held by the named pattern."""
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, f"{prefix}_"), dut.clk, dut.rst)
    quiet()
    write, read = master.write_if, master.read_if
    for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel):
        channel.set_pause_generator(pattern(held, rng))
    return master
