"""From an integer network and a hardware configuration to the memory image that ARCHON runs."""

from sw.program.blocks import PlacedBlock
from sw.program.fixed import FixedGroup, FixedLayer
from sw.program.image import Layer, MemoryImage, Program, TensorPlace, build_image, read_hex, write_hex
from sw.program.jobs import Job
from sw.program.pair import PlacedPair
from sw.program.plan import Loads, TensorForm, Wiring
from sw.program.raw_image import ImageLayer, image_windows
from sw.program.sequence import INPUT_TENSOR, network_image, network_layers

__all__ = [
    "INPUT_TENSOR",
    "FixedGroup",
    "FixedLayer",
    "ImageLayer",
    "Job",
    "Layer",
    "Loads",
    "MemoryImage",
    "PlacedBlock",
    "PlacedPair",
    "Program",
    "TensorForm",
    "TensorPlace",
    "Wiring",
    "build_image",
    "image_windows",
    "network_image",
    "network_layers",
    "read_hex",
    "write_hex",
]
