"""The accelerator with its memory, as one design to simulate."""

from collections.abc import Sequence
from pathlib import Path

from hw.contract.activity import ACTIVITY, observed_bits
from hw.contract.axi import BYTE_ADDRESS_BITS
from hw.contract.config import ADDRESS_BITS, ArchonConfig
from hw.contract.descriptor import COMMAND, READ_REQUEST, REPORT
from hw.contract.layout import WORD_BITS
from hw.contract.registers import REGISTER_ADDRESS_BITS, REGISTER_BITS
from sim.model import Design
from sim.toolchain import REPOSITORY
from sim.verilog import unit_verilog

MEMORY_SOURCE = REPOSITORY / "tb" / "memory.v"
HARNESS_SOURCE = REPOSITORY / "tb" / "harness.v"
LEAST_WORDS = 1 << 14
"""Of external memory in a model: all small programs share one."""

AXI_SOURCES = (REPOSITORY / "tb" / "axi_harness.v", REPOSITORY / "tb" / "axi_memory.v", MEMORY_SOURCE)


def memory_parameters(words: int) -> dict[str, int]:
    """Parameters of memory.v: `words` words, widths by the contract."""
    length_bits = READ_REQUEST.width - ADDRESS_BITS
    return {"WORDS": words, "ADDRESS_BITS": ADDRESS_BITS, "LENGTH_BITS": length_bits, "WORD_BITS": WORD_BITS}


def memory_design(words: int, queue: int) -> Design:
    """The memory alone, with room for `queue` requests (a power of two)."""
    return Design([MEMORY_SOURCE], "memory", {**memory_parameters(words), "QUEUE": queue})


def harness_design(config: ArchonConfig, words: int, public: Sequence[str] = ()) -> Design:
    """The accelerator with `words` words of memory, driven by tb.harness.Harness.

    Args:
        config: Hardware configuration.
        words: Size of external memory; rounded up to a power of two, LEAST_WORDS at least, so that networks of like size
            share a model.
        public: As in sim.model.Design.
    """
    parameters = {**memory_parameters(_rounded(words)), "COMMAND_BITS": COMMAND.width, "REPORT_BITS": REPORT.width}
    parameters |= {"ACTIVITY_BITS": ACTIVITY.width, "OBSERVED_BITS": observed_bits(config)}
    sources: list[Path] = [HARNESS_SOURCE, MEMORY_SOURCE, unit_verilog("archon", config)]
    return Design(sources, "harness", parameters, public, repeated=("lane", "cluster"))


def axi_harness_design(config: ArchonConfig, words: int) -> Design:
    """The accelerator on its buses with memory, driven by tb.axi_harness.AxiHarness; arguments as of harness_design."""
    parameters = {**memory_parameters(_rounded(words)), "BYTE_ADDRESS_BITS": BYTE_ADDRESS_BITS}
    parameters |= {"REGISTER_ADDRESS_BITS": REGISTER_ADDRESS_BITS, "REGISTER_BITS": REGISTER_BITS}
    sources: list[Path] = [*AXI_SOURCES, unit_verilog("archon_axi", config)]
    return Design(sources, "axi_harness", parameters, repeated=("lane", "cluster"))


def _rounded(words: int) -> int:
    return max(LEAST_WORDS, 1 << (words - 1).bit_length())
