"""From an integer network and a hardware configuration to the memory image that ARCHON runs."""

from sw.program.image import (
    INPUT_TENSOR,
    MemoryImage,
    PlacedBlock,
    Program,
    TensorPlace,
    build_image,
    network_image,
    read_hex,
    write_hex,
)
from sw.program.jobs import Job

__all__ = [
    "INPUT_TENSOR",
    "Job",
    "MemoryImage",
    "PlacedBlock",
    "Program",
    "TensorPlace",
    "build_image",
    "network_image",
    "read_hex",
    "write_hex",
]
