"""A network of two small blocks with random weights, and spoiled tables, for the tests of whole runs."""

from hw.contract.layout import WORD_BITS
from hw.contract.tables import REQUANTIZE_ROW, SECTION_HEADER, TableKind
from sw.bundle.network import IntegerNetwork
from sw.datasets import cropped, load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.program import MemoryImage
from sw.spec import NetworkSpec, parse_spec

_SEED = 5
_BLOCK = {"kernel": 3, "groups": 2, "shuffle": True}
_SPEC = {
    "name": "sim-test", "channels": 3, "classes": 10,
    "stem": {"channels": 4, "kernel": 3, "stride": 2},
    "first_pointwise": {"channels": 4, "groups": 2, "shuffle": True},
    "first_depthwise": {"kernel": 3},
    "last_pointwise": {"channels": 16, "groups": 2},
    "sparsity": {"pointwise": 0.5, "depthwise": 0.3},
    "blocks": [
        {**_BLOCK, "in_channels": 4, "expanded_channels": 14, "out_channels": 8, "stride": 2, "residual": False},
        {**_BLOCK, "in_channels": 8, "expanded_channels": 18, "out_channels": 8, "stride": 1, "residual": True},
    ],
}  # fmt: skip


def small_spec(height: int = 32, width: int = 32) -> NetworkSpec:
    """Fits the preset tiny; for images of this size."""
    return parse_spec({**_SPEC, "height": height, "width": width})


def make_network(spec: NetworkSpec) -> IntegerNetwork:
    """Random weights for a specification."""
    images = cropped(load_excerpt().images[:2], spec.height, spec.width)
    return random_network(spec, _SEED, Survivors(0.5, 0.5), images).network


def bias_bit(image: MemoryImage, layer: str, bit: int) -> int:
    """Bit of the tables (sim.run.with_flipped_bit) that is this bit of the bias of a layer's first output channel."""
    start = min(job.fields["table_address"] for job in image.network_program.jobs)
    address = min(job.fields["table_address"] for job in image.network_program.jobs if job.layer == layer)
    while True:
        header = SECTION_HEADER.unpack(int(image.words[address]))
        if header["kind"] == TableKind.REQUANTIZE:
            return (address + 1 - start) * WORD_BITS + REQUANTIZE_ROW.offsets["bias"] + bit
        assert header["kind"] != TableKind.LANES, f"{layer}: biases are expected in front of the lanes' tables"
        address += 1 + int(str(header["rows"])) * int(str(header["words"]))
