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
from sw.program.raw_image import ImagePlace, image_job, image_windows

__all__ = [
    "INPUT_TENSOR",
    "ImagePlace",
    "Job",
    "MemoryImage",
    "PlacedBlock",
    "Program",
    "TensorPlace",
    "build_image",
    "image_job",
    "image_windows",
    "network_image",
    "read_hex",
    "write_hex",
]
