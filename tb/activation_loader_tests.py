"""Activation loader: every activation of a band to its lane and row, once; nothing else written."""

from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig, index_bits
from hw.contract.memory import pack_tensor
from hw.contract.numerics import ACTIVATION_BITS
from tb.bench import configuration
from tb.edges import bit, every_cycle, number, numbers
from tb.loaders import LoaderBench
from tb.memory import StreamMemory
from tb.streams import Number, stalls

JOBS = 5
WORDS = 1 << 12


class ActivationStores:
    """What the activation-write bus wrote: (lane, row) to activation; writing a row twice fails.

    So does a count of loaded image rows that is ahead of what was written.
    """

    def __init__(self, dut: Any, config: ArchonConfig) -> None:
        self._lanes = config.lanes
        self._start, self._rows_loaded = bit(dut.start), number(dut.rows_loaded)
        self._write = numbers(dut, "activation_write__", ("enable", "address", "data"))
        self._address_bits = index_bits(config.depths.activation)
        self.written: dict[tuple[int, int], int] = {}
        self._rows: list[set[tuple[int, int]]] = []
        self._first_row, self._started = 0, False
        every_cycle(dut, self._step)

    def begin(self, fields: dict[str, int], expected: dict[tuple[int, int], int]) -> None:
        """Prepare for a job that is about to start and writes what is expected."""
        self.written.clear()
        self._started, self._first_row = False, fields["input_row_start"]
        width, segment = fields["input_width"], fields["segment"]
        self._rows = [
            {place for place in expected if place[1] % segment // width == row} for row in range(fields["input_rows"])
        ]

    def _check_rows(self) -> None:
        if self._started:
            loaded = self._rows_loaded() - self._first_row
            assert 0 <= loaded <= len(self._rows), f"{loaded} of {len(self._rows)} rows loaded"
            missing = set().union(*self._rows[:loaded]) - self.written.keys()
            assert not missing, f"{loaded} rows loaded, but not lane and row {min(missing)}"
        self._started |= self._start()

    def _step(self, reset: bool) -> None:
        if reset:
            return
        activation = Number(ACTIVATION_BITS, signed=True)
        self._check_rows()
        enable, addresses, data = self._write().values()
        for lane in range(self._lanes):
            if enable >> lane & 1:
                row = addresses >> (lane * self._address_bits) & ((1 << self._address_bits) - 1)
                assert (lane, row) not in self.written, f"lane {lane}, row {row} written twice"
                self.written[lane, row] = activation.unpack(data >> (lane * ACTIVATION_BITS) & 0xFF)


@cocotb.test()
@cocotb.parametrize(stalls(), latency=[(0, 0), (1, 30)])
async def every_activation_once(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Bands of other sizes, first bytes and channel counts in a row; only the band's words are read."""
    bench = LoaderBench(dut, "activations", WORDS, idle, back_pressure, latency)
    config = configuration()
    random = np.random.default_rng(bench.random.getrandbits(64))
    stores = ActivationStores(dut, config)
    await bench.reset()
    for index in range(JOBS):
        fields, expected = random_band(config, random, bench.memory)
        stores.begin(fields, expected)
        await bench.load(fields)
        assert stores.written == expected, f"job {index}: {first_difference(stores.written, expected)}"
        assert int(dut.rows_loaded.value) == fields["input_row_start"] + fields["input_rows"]
        await bench.check_stays_done(fields["planes"] * fields["segment"])
        assert len(stores.written) == len(expected), "rows written after done"


def random_band(
    config: ArchonConfig, random: np.random.Generator, memory: StreamMemory
) -> tuple[dict[str, int], dict[tuple[int, int], int]]:
    """Puts a tensor into memory; the job fields of a band of some of its channels, and the rows it fills."""
    while True:
        height, width = (int(random.integers(1, top)) for top in (9, 14))
        channels = int(random.integers(1, 21))
        first = int(random.integers(0, 12))
        start = int(random.integers(0, height))
        rows = int(random.integers(1, height - start + 1))
        segment, turns = rows * width, -(-channels // config.lanes)
        if turns * segment <= config.depths.activation:
            break
    tensor = random.integers(-128, 128, (first + channels + int(random.integers(0, 5)), height, width))
    words = pack_tensor(tensor)
    address = int(random.integers(0, WORDS - len(words) + 1))
    memory.words[address : address + len(words)] = words
    first_plane, first_byte = divmod(first, CHANNELS_PER_WORD)
    planes = -(-(first_byte + channels) // CHANNELS_PER_WORD)
    band_address = address + first_plane * height * width + start * width
    mark_band(memory.missing, band_address, planes, height * width, segment)
    fields = {
        "input_address": band_address, "plane_words": height * width, "segment": segment, "planes": planes,
        "first_byte": first_byte, "input_channels": channels, "turns": turns,
        "input_width": width, "input_row_start": start, "input_rows": rows,
    }  # fmt: skip
    band = tensor[first : first + channels, start : start + rows].reshape(channels, segment)
    expected = {
        (channel % config.lanes, channel // config.lanes * segment + pixel): int(band[channel, pixel])
        for channel in range(channels)
        for pixel in range(segment)
    }
    return fields, expected


def mark_band(missing: NDArray[np.bool_], address: int, planes: int, plane_words: int, segment: int) -> None:
    """Only these words may be read."""
    missing[:] = True
    for plane in range(planes):
        missing[address + plane * plane_words :][:segment] = False


def first_difference(written: dict[tuple[int, int], int], expected: dict[tuple[int, int], int]) -> str:
    """The lowest (lane, row) that differs."""
    place = min(key for key in written.keys() | expected.keys() if written.get(key) != expected.get(key))
    return f"lane {place[0]}, row {place[1]}: expected {expected.get(place)}, got {written.get(place)}"
