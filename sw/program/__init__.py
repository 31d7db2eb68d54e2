"""From an integer network and a hardware configuration to the memory image that ARCHON runs."""

from sw.program.blocks import PlacedBlock
from sw.program.fixed import FixedGroup, FixedLayer
from sw.program.image import Layer, MemoryImage, Program, TensorPlace, build_image, read_hex, write_hex
from sw.program.jobs import Job
from sw.program.network import INPUT_TENSOR, network_image, network_layers, stem_windows
from sw.program.plan import Loads

__all__ = [
    "INPUT_TENSOR",
    "FixedGroup",
    "FixedLayer",
    "Job",
    "Layer",
    "Loads",
    "MemoryImage",
    "PlacedBlock",
    "Program",
    "TensorPlace",
    "build_image",
    "network_image",
    "network_layers",
    "read_hex",
    "stem_windows",
    "write_hex",
]
