"""The memory image: programs, tables and activations at their addresses in external memory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.contract.config import ADDRESS_BITS, CHANNELS_PER_WORD, ArchonConfig
from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB, JOB_BITS
from hw.contract.errors import ArchonError
from hw.contract.memory import image_words, pack_image, pack_tensor, tensor_words, unpack_image, unpack_tensor
from hw.contract.tables import GATE_BYTE
from sw.program.blocks import PlacedBlock
from sw.program.fixed import BYTES_OF_SUM, FixedLayer
from sw.program.jobs import Job, Shape, alternate_halves
from sw.program.pair import PlacedPair
from sw.program.plan import LayerPlan, Loads, TensorForm, Wiring
from sw.program.raw_image import ImageLayer
from sw.program.tables import Words

Layer = ImageLayer | PlacedBlock | PlacedPair | FixedLayer


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor (channels, height, width) lies.

    Args:
        address: Word address of the tensor, or of the one that it is a part of.
        shape: Of the tensor.
        form: What it is made of.
        part_of: Channels of the tensor that it is a part of, if it is one; of activations alone.
        first_channel: Its first channel among those.
        rows: Of gates: words behind `address` at which the REQUANTIZE row of each channel lies.
    """

    address: int
    shape: Shape
    form: TensorForm = TensorForm.ACTIVATIONS
    part_of: int | None = None
    first_channel: int = 0
    rows: tuple[int, ...] = ()

    @property
    def bytes_shape(self) -> Shape:
        """The shape in which its bytes lie: those of an int32 are neighbouring channels. Of a part, the whole's."""
        channels, height, width = self.shape
        if self.part_of is not None:
            return self.part_of, height, width
        return channels * (BYTES_OF_SUM if self.form is TensorForm.SUMS else 1), height, width

    @property
    def words(self) -> int:
        """Words that the tensor occupies, or among which its gates are."""
        channels, height, width = self.bytes_shape
        if self.form is TensorForm.GATES:
            return max(self.rows) + 1
        if self.form is TensorForm.PIXELS:
            return image_words(height, width, channels)
        return tensor_words(channels, height, width)

    @property
    def _channels(self) -> slice:
        return slice(self.first_channel, self.first_channel + self.shape[0])

    def written_bytes(self) -> NDArray[np.bool_]:
        """(words, 8): which bytes of its words belong to the tensor, or to the one that it is a part of."""
        if self.form is TensorForm.GATES:
            written = np.zeros((self.words, CHANNELS_PER_WORD), dtype=np.bool_)
            written[list(self.rows), GATE_BYTE] = True
            return written
        count, height, width = self.bytes_shape
        channels = np.arange(self.words) // (height * width) * CHANNELS_PER_WORD
        return np.asarray(channels[:, None] + np.arange(CHANNELS_PER_WORD) < count)

    def read(self, memory: Words) -> NDArray[np.integer]:
        """The tensor as it lies in `memory`, whose first word has address 0."""
        words = memory[self.address : self.address + self.words]
        if self.form is TensorForm.PIXELS:
            channels, height, width = self.shape
            return unpack_image(words, height, width, channels).transpose(2, 0, 1)
        if self.form is TensorForm.GATES:
            return _bytes_of(words)[list(self.rows), GATE_BYTE].reshape(self.shape)
        found = unpack_tensor(words, *self.bytes_shape)
        if self.form is TensorForm.ACTIVATIONS:
            return found[self._channels]
        parts = found.reshape(self.shape[0], BYTES_OF_SUM, -1).swapaxes(1, 2)
        return np.ascontiguousarray(parts).view("<i4").reshape(self.shape)

    def write(self, memory: Words, tensor: NDArray[Any]) -> None:
        """Put a tensor of this shape into `memory`."""
        if tensor.shape != self.shape:
            raise ArchonError(f"a tensor of shape {self.shape} is expected at address {self.address}, got {tensor.shape}")
        if self.form is TensorForm.GATES:
            words = _bytes_of(memory[self.address : self.address + self.words])
            words[list(self.rows), GATE_BYTE] = tensor.reshape(-1)
            memory[self.address : self.address + self.words] = words.view("<u8").reshape(-1)
            return
        if self.form is TensorForm.SUMS:
            parts = np.ascontiguousarray(tensor.astype("<i4")).view(np.int8).reshape(self.shape[0], -1, BYTES_OF_SUM)
            tensor = parts.swapaxes(1, 2).reshape(self.bytes_shape)
        if self.part_of is not None:
            whole = unpack_tensor(memory[self.address : self.address + self.words], *self.bytes_shape)
            whole[self._channels] = tensor
            tensor = whole
        packed = pack_image(tensor.transpose(1, 2, 0)) if self.form is TensorForm.PIXELS else pack_tensor(tensor)
        memory[self.address : self.address + self.words] = packed


def _bytes_of(words: Words) -> NDArray[np.int8]:
    """A copy of words as (words, 8) bytes."""
    return words.astype("<u8").view(np.int8).reshape(-1, CHANNELS_PER_WORD)


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
    """Programs and tables filled in, activations and gates zero."""
    tensors: dict[str, TensorPlace]
    """The input of the first layer, then every layer's output under the layer's name, and what is made of several outputs."""
    network_program: Program
    """All layers, one after the other."""
    layer_programs: tuple[Program, ...]
    """Every layer on its own, reading its input where the layer before left it; job numbers as in network_program."""
    loads: dict[str, Loads]
    """By name of a fixed layer, what loading its weights costs."""

    @property
    def activation_address(self) -> int:
        """First word that a run may write, of tables that take gates and of activations; everything below is constant."""
        return min(place.address for place in self.tensors.values())

    @property
    def constant_words(self) -> Words:
        """The words that no run writes: what has to be loaded once."""
        return self.words[: self.activation_address]


def build_image(
    layers: Sequence[Layer], config: ArchonConfig, input_name: str = "input", wirings: Mapping[str, Wiring] | None = None
) -> MemoryImage:
    """Programs, tables and places of activations for consecutive layers.

    Args:
        layers: each one's output is the input of the next, unless its wiring says otherwise.
        config: the hardware that will run them.
        input_name: name of the first layer's input among the tensors.
        wirings: by name of a layer.

    Raises:
        ArchonError: sizes that do not follow each other, or a layer that does not fit the configuration.
    """
    if not layers:
        raise ArchonError("a memory image needs at least one layer, got none")
    plans = [layer.plan(config) for layer in layers]
    wires = _wires(plans, input_name, wirings or {})
    position = DESCRIPTOR_WORDS * sum(2 * len(plan.jobs) + 1 for plan in plans) + DESCRIPTOR_WORDS
    first_table, places = position, dict[str, list[tuple[int, int]]]()
    in_place = sorted(plans, key=lambda plan: bool(plan.rows))  # tables that take gates in front of the activations
    for plan in in_place:
        lengths = [len(segment) for segment in plan.segments]
        starts = itertools.accumulate(lengths, initial=position)
        places[plan.name] = list(zip(starts, lengths, strict=False))
        position += sum(lengths)
    gates = {plan.name: (places[plan.name][0][0], plan.rows) for plan in plans if plan.rows}
    tensors, size = _place_tensors(plans, wires, input_name, position, gates)
    _check_chain(plans, wires, tensors)
    network, singles = _place_programs(plans, wires, tensors, [places[plan.name] for plan in plans])
    words = np.zeros(size, dtype=np.uint64)
    for program in (network, *singles):
        words[program.address : program.address + program.words] = pack_program(program)
    words[first_table:position] = np.concatenate([segment for plan in in_place for segment in plan.segments])
    return MemoryImage(words, tensors, network, singles, {plan.name: plan.loads for plan in plans if plan.loads})


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


def _wires(plans: Sequence[LayerPlan], input_name: str, wirings: Mapping[str, Wiring]) -> list[Wiring]:
    """Every layer's wiring, its source filled in."""
    wires, before = [], input_name
    for plan in plans:
        wiring = wirings.get(plan.name, Wiring())
        wires.append(dataclasses.replace(wiring, source=wiring.source or before))
        before = plan.name if wiring.target is None else wiring.target[0]
    return wires


def _check_chain(plans: Sequence[LayerPlan], wires: Sequence[Wiring], tensors: Mapping[str, TensorPlace]) -> None:
    for plan, wiring in zip(plans, wires, strict=True):
        name = str(wiring.source)
        for wanted in (name, wiring.residual or name):
            if wanted not in tensors:
                raise ArchonError(f"{plan.name}: expected a tensor {wanted}, got none of that name")
        source = tensors[name]
        if source.shape != plan.input_shape:
            raise ArchonError(f"{plan.name}: expected the output {source.shape} of {name} as its input, got {plan.input_shape}")
        if source.form is not plan.input_form:
            raise ArchonError(f"{plan.name}: expected {plan.input_form.value} as its input, got {source.form.value} of {name}")
        if wiring.residual is not None and tensors[wiring.residual].shape != plan.output_shape:
            got = tensors[wiring.residual].shape
            raise ArchonError(f"{plan.name}: expected a residual of {plan.output_shape}, got {got} of {wiring.residual}")


def _place_tensors(
    plans: Sequence[LayerPlan],
    wires: Sequence[Wiring],
    input_name: str,
    position: int,
    gates: Mapping[str, tuple[int, tuple[int, ...]]],
) -> tuple[dict[str, TensorPlace], int]:
    """All tensors, from `position` on, but for gates: they lie in the tables (address, rows) of the layer that they are for."""
    names = [input_name, *(plan.name for plan in plans)]
    if len(set(names)) != len(names):
        raise ArchonError(f"names of layers must differ, got {names}")
    tensors = {input_name: TensorPlace(position, plans[0].input_shape, plans[0].input_form)}
    position += tensors[input_name].words
    for plan, wiring in zip(plans, wires, strict=True):
        if plan.output_form is TensorForm.GATES:
            address, rows = gates.get(str(wiring.gated), (0, ()))
            if len(rows) != plan.output_shape[0]:
                raise ArchonError(
                    f"{plan.name}: expected a layer whose {plan.output_shape[0]} multipliers are gates, got {wiring.gated}"
                )
            tensors[plan.name] = TensorPlace(address, plan.output_shape, plan.output_form, rows=rows)
            continue
        if wiring.target is None:
            tensors[plan.name] = TensorPlace(position, plan.output_shape, plan.output_form)
            position += tensors[plan.name].words
            continue
        target, channels = wiring.target
        if target not in tensors:
            tensors[target] = TensorPlace(position, (channels, *plan.output_shape[1:]))
            position += tensors[target].words
        whole, last = tensors[target], wiring.first_channel + plan.output_shape[0]
        if whole.shape[1:] != plan.output_shape[1:] or last > whole.shape[0]:
            raise ArchonError(
                f"{plan.name}: expected an output within {whole.shape} of {target}, got {plan.output_shape} "
                f"from channel {wiring.first_channel} on"
            )
        tensors[plan.name] = TensorPlace(
            whole.address, plan.output_shape, part_of=whole.shape[0], first_channel=wiring.first_channel
        )
    if position > 1 << ADDRESS_BITS:
        raise ArchonError(f"the memory image needs {position} words, at most {1 << ADDRESS_BITS} can be addressed")
    return tensors, position


def _place_programs(
    plans: Sequence[LayerPlan],
    wires: Sequence[Wiring],
    tensors: Mapping[str, TensorPlace],
    tables: list[list[tuple[int, int]]],
) -> tuple[Program, tuple[Program, ...]]:
    jobs: list[Job] = []
    per_layer = []
    for plan, wiring, of_plan in zip(plans, wires, tables, strict=True):
        source, own = tensors[str(wiring.source)].address, tensors[plan.name].address
        added = None if wiring.residual is None else tensors[wiring.residual].address
        of_layer = [job.placed(len(jobs), source, own, of_plan, added) for job in plan.jobs]
        per_layer.append(of_layer)
        jobs += of_layer
    if len(jobs) > 1 << JOB_BITS:
        raise ArchonError(f"the program needs {len(jobs)} jobs, at most {1 << JOB_BITS} can be numbered")
    alternate_halves(jobs)
    network = Program("network", 0, tuple(jobs))
    singles, address = [], network.words
    for plan, of_layer in zip(plans, per_layer, strict=True):
        singles.append(Program(plan.name, address, tuple(of_layer)))
        address += singles[-1].words
    return network, tuple(singles)
