"""The memory image: programs, tables and activations at their addresses in external memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ADDRESS_BITS, ArchonConfig
from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB, JOB_BITS
from hw.contract.errors import ArchonError
from hw.contract.memory import pack_tensor, tensor_words, unpack_tensor
from sw.bundle.network import FusedBlock, IntegerNetwork
from sw.program.jobs import BlockPlace, Job, TablePlaces, alternate_halves, block_jobs, reduced
from sw.program.tables import Words, table_segment
from sw.spec import BlockSpec

INPUT_TENSOR = "first_depthwise"
"""Name of the tensor that the host writes: the output of the last layer before the first block."""


@dataclass(frozen=True)
class PlacedBlock:
    """A block to run: its weights, its shape and the size of its input image."""

    name: str
    block: FusedBlock
    spec: BlockSpec
    height: int
    width: int


@dataclass(frozen=True)
class TensorPlace:
    """Where an activation tensor (channels, height, width) lies."""

    address: int
    shape: tuple[int, int, int]

    @property
    def words(self) -> int:
        """Words that the tensor occupies."""
        return tensor_words(*self.shape)

    def read(self, memory: Words) -> NDArray[np.int8]:
        """The tensor as it lies in `memory`, whose first word has address 0."""
        return unpack_tensor(memory[self.address : self.address + self.words], *self.shape)

    def write(self, memory: Words, tensor: NDArray[np.integer]) -> None:
        """Put a tensor of this shape into `memory`."""
        if tensor.shape != self.shape:
            raise ArchonError(f"a tensor of shape {self.shape} is expected at address {self.address}, got {tensor.shape}")
        memory[self.address : self.address + self.words] = pack_tensor(tensor)


@dataclass(frozen=True)
class Program:
    """Descriptors from `address` on, closed by one with `end` set."""

    name: str
    address: int
    jobs: tuple[Job, ...]

    @property
    def words(self) -> int:
        """Words of the program, the closing descriptor included."""
        return (len(self.jobs) + 1) * DESCRIPTOR_WORDS


@dataclass(frozen=True)
class MemoryImage:
    """External memory before the first run; addresses count 64-bit words from 0."""

    words: Words
    """Programs and tables filled in, activations zero."""
    tensors: dict[str, TensorPlace]
    """The input of the first block, then every block's output under the block's name."""
    network_program: Program
    """All blocks, one after the other."""
    block_programs: tuple[Program, ...]
    """Every block on its own, reading its input where the block before left it; job numbers as in network_program."""

    @property
    def activation_address(self) -> int:
        """First word of the activations; everything below is constant."""
        return min(place.address for place in self.tensors.values())

    @property
    def constant_words(self) -> Words:
        """The words below the activations: what has to be loaded once."""
        return self.words[: self.activation_address]


def build_image(blocks: Sequence[PlacedBlock], config: ArchonConfig, input_name: str = "input") -> MemoryImage:
    """Programs, tables and places of activations for consecutive blocks.

    Args:
        blocks: each one's output is the input of the next.
        config: the hardware that will run them.
        input_name: name of the first block's input among the tensors.

    Raises:
        ArchonError: sizes that do not follow each other, or a block that does not fit the configuration.
    """
    _check_chain(blocks)
    counts = [len(_jobs(blocks, index, config)) for index in range(len(blocks))]
    descriptors = sum(counts) + 1 + sum(count + 1 for count in counts)
    segments: list[Words] = []
    places: list[TablePlaces] = []
    position = descriptors * DESCRIPTOR_WORDS
    for item in blocks:
        of_block = []
        for group in range(item.spec.groups):
            segment = table_segment(item.block, item.spec, group, math.prod(_output_shape(item)[1:]), config, item.name)
            of_block.append((position, len(segment)))
            segments.append(segment)
            position += len(segment)
        places.append(tuple(of_block))
    tensors, position = _place_tensors(blocks, input_name, position)
    words = np.zeros(position, dtype=np.uint64)
    network, singles = _place_programs(blocks, list(tensors.values()), places, config)
    for program in (network, *singles):
        words[program.address : program.address + program.words] = pack_program(program)
    start = descriptors * DESCRIPTOR_WORDS
    tables = np.concatenate(segments)
    words[start : start + len(tables)] = tables
    return MemoryImage(words, tensors, network, singles)


def network_image(network: IntegerNetwork, config: ArchonConfig) -> MemoryImage:
    """The image of all fused blocks of a network, named "block 1" and on; the layers around them run on the host."""
    shapes = network.spec.block_shapes()
    blocks = [
        PlacedBlock(f"block {index}", block, spec, shape.in_height, shape.in_width)
        for index, (block, spec, shape) in enumerate(zip(network.blocks, network.spec.blocks, shapes, strict=True), start=1)
    ]
    return build_image(blocks, config, INPUT_TENSOR)


def pack_program(program: Program) -> Words:
    """Descriptors as words, DESCRIPTOR_WORDS apart, with the closing one."""
    names = [item.name for item in JOB.fields]
    closing = dict.fromkeys(names, 0) | {"end": 1}
    rows = [job.fields for job in program.jobs] + [closing]
    packed = JOB.pack_rows({name: [row[name] for row in rows] for name in names})
    padded = np.zeros((len(rows), DESCRIPTOR_WORDS), dtype=np.uint64)
    padded[:, : JOB.words] = packed
    return padded.reshape(-1)


def write_hex(path: Path, words: Words, address: int = 0) -> None:
    """Write words as a $readmemh file that starts at `address`; a file under that name is replaced whole."""
    beside = path.with_name(path.name + ".partial")
    lines = [f"@{address:x}", *(f"{word:016x}" for word in words.tolist())]
    beside.write_text("\n".join(lines) + "\n", encoding="ascii")
    beside.replace(path)


def read_hex(path: Path, size: int) -> Words:
    """Read a $readmemh or $writememh file into `size` words; comments and @address lines are understood."""
    words, address = np.zeros(size, dtype=np.uint64), 0
    for line in path.read_text(encoding="ascii").splitlines():
        for token in line.split("//")[0].split():
            if token.startswith("@"):
                address = int(token[1:], 16)
                continue
            if address >= size:
                raise ArchonError(f"{path.name}: expected at most {size} words, got one at address {address}")
            words[address] = int(token, 16)
            address += 1
    return words


def _output_shape(item: PlacedBlock) -> tuple[int, int, int]:
    return item.spec.out_channels, reduced(item.height, item.spec.stride), reduced(item.width, item.spec.stride)


def _check_chain(blocks: Sequence[PlacedBlock]) -> None:
    if not blocks:
        raise ArchonError("a memory image needs at least one block, got none")
    for before, item in itertools.pairwise(blocks):
        expected, got = _output_shape(before), (item.spec.in_channels, item.height, item.width)
        if expected != got:
            raise ArchonError(f"{item.name}: expected the output {expected} of {before.name} as its input, got {got}")


def _place_tensors(blocks: Sequence[PlacedBlock], input_name: str, position: int) -> tuple[dict[str, TensorPlace], int]:
    first = blocks[0]
    shapes = {input_name: (first.spec.in_channels, first.height, first.width)}
    shapes |= {item.name: _output_shape(item) for item in blocks}
    if len(shapes) != len(blocks) + 1:
        raise ArchonError(f"names of blocks must differ, got {[input_name, *(item.name for item in blocks)]}")
    tensors = {}
    for name, shape in shapes.items():
        tensors[name] = TensorPlace(position, shape)
        position += tensor_words(*shape)
    if position > 1 << ADDRESS_BITS:
        raise ArchonError(f"the memory image needs {position} words, at most {1 << ADDRESS_BITS} can be addressed")
    return tensors, position


def _jobs(
    blocks: Sequence[PlacedBlock],
    index: int,
    config: ArchonConfig,
    first_job: int = 0,
    places: tuple[int, int, TablePlaces] | None = None,
) -> list[Job]:
    item = blocks[index]
    input_address, output_address, table_places = places or (0, 0, ((0, 0),) * item.spec.groups)
    place = BlockPlace(item.height, item.width, input_address, output_address, table_places)
    return block_jobs(item.name, item.spec, place, config, first_job)


def _place_programs(
    blocks: Sequence[PlacedBlock], tensors: list[TensorPlace], tables: list[TablePlaces], config: ArchonConfig
) -> tuple[Program, tuple[Program, ...]]:
    jobs: list[Job] = []
    per_block = []
    for index in range(len(blocks)):
        places = (tensors[index].address, tensors[index + 1].address, tables[index])
        of_block = _jobs(blocks, index, config, len(jobs), places)
        per_block.append(of_block)
        jobs += of_block
    if len(jobs) > 1 << JOB_BITS:
        raise ArchonError(f"the program needs {len(jobs)} jobs, at most {1 << JOB_BITS} can be numbered")
    alternate_halves(jobs)
    network = Program("network", 0, tuple(jobs))
    singles, address = [], network.words
    for item, of_block in zip(blocks, per_block, strict=True):
        singles.append(Program(item.name, address, tuple(of_block)))
        address += singles[-1].words
    return network, tuple(singles)
