"""What is fixed when the hardware is generated: one frozen, validated configuration object and its presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from hw.contract import numerics
from hw.contract.errors import ArchonError
from hw.contract.taps import KERNELS, SMALL_KERNEL

CHANNELS_PER_WORD = 8
"""int8 activations in one 64-bit word of external memory; also the most lanes that a cluster can have."""

DIMENSION_BITS = 10
"""Heights, widths and channel counts in descriptors."""

ADDRESS_BITS = 32
"""Word addresses in external memory."""

ROW_BANKS = {3: 4, 5: 8}
"""By kernel, fewest banks of the row store, one image row each in turn: a window's rows are read while another is written."""

IMAGE_ROW_BANKS = ROW_BANKS[SMALL_KERNEL]
"""Banks of the image unit's rows."""


def index_bits(depth: int) -> int:
    """Address width of a memory of `depth` rows (at least 1)."""
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True)
class Widths:
    """Bit widths of the value path and the predictor; all signed unless said otherwise."""

    weight: int = 5
    """W1 and D; symmetric, so 5 bits hold -15..15."""
    shift: int = 3
    """Shift of a signed power of two in W2, unsigned: 2**0..2**7."""
    accumulator: int = 18
    """One entry of A."""
    bias_product: int = 18
    """D * b1."""
    bias: int = 22
    """b2."""
    predictor_sum: int = 10
    """Sums and thresholds of both predictor layers."""
    level_shift: int = 3
    """Shift between the first predictor's excess and its 4-bit level, unsigned."""

    @property
    def weight_max(self) -> int:
        """Largest magnitude of W1 and D."""
        return (1 << (self.weight - 1)) - 1

    @property
    def product(self) -> int:
        """V = D * W1: wide enough for weight_max squared."""
        return numerics.signed_bits(self.weight_max**2)

    @property
    def shift_max(self) -> int:
        """Largest shift of a term of W2."""
        return (1 << self.shift) - 1


@dataclass(frozen=True)
class Depths:
    """Rows of the memories; a network that needs more is refused when its memory image is made.

    Memories of tables (slices, turned_slices, pair, bias, step, output) have table_halves halves of so many rows each.
    """

    activation: int = 1024
    """Activations of one lane: turns * rows * columns of a job's input."""
    slices: int = 64
    """Slices of expanded channels in one group."""
    turned_slices: int = 192
    """Slices times turns: rows of the expand table and of each membership table."""
    row_store: int = 1280
    """columns * slices: level words of one image row, in each of the row_banks banks of the row store."""
    pair: int = 1024
    """Pairs (expanded channel, input channel) of one lane."""
    bias: int = 256
    """Expanded channels whose biases one lane adds."""
    step: int = 8192
    """Steps (output channel, one or two signed powers of two) of one lane, in equal parts for its adder rows."""
    accumulator: int = 128
    """turns * output channels of one group: entries of each tap bank, in equal parts for a lane's adder rows."""
    output: int = 64
    """Output channels of one group."""
    image_row: int = 64
    """Columns of a raw image."""


@dataclass(frozen=True)
class Queues:
    """Depths of the queues between the units of a cluster."""

    slice_word: int = 16
    """Slice words waiting for a lane's survivor scan."""
    survivor: int = 32
    """Survivors waiting for a lane's accumulation."""
    pair: int = 8
    """Masked pairs waiting for an adder row."""
    row: int = 4
    """Rows of A waiting for a lane's multiplier."""
    partial: int = 16
    """Partial sums of a lane waiting for the reduction."""
    activation: int = 256
    """Words of activations that all clusters ask for ahead, but for a burst each, where residuals wait behind them."""
    residual: int = 64
    """Residual words requested ahead; memory latency divided by this is the least cycles an output of a residual block."""
    output: int = 4
    """Output writes waiting for memory; at least as many as the requantizer has under way."""
    table: int = 64
    """Words of tables requested ahead; with N clusters, memory latency divided by N times this is the least cycles a word."""
    image: int = 16
    """Words of a raw image requested ahead; a word lasts 8 cycles, so that a latency of 8 times this costs nothing."""


@dataclass(frozen=True)
class ArchonConfig:
    """One accelerator: `clusters` independent clusters of `lanes` lanes, one multiplier a lane."""

    clusters: int = 1
    lanes: int = 8
    adder_rows: int = 2
    """Steps of accumulation that a lane does each cycle, one in each row; row r owns output channels r, r + adder_rows, ..."""
    row_store_banks: int | None = None
    """Image rows that the row store holds, a bank each: the more, the further it is filled ahead; None: as the kernel needs."""
    pixel_tile: int = 2
    """Output pixels whose accumulators a lane holds at once: one fills while those before it are drained."""
    slice_channels: int = 16
    """Expanded channels that the predictor handles each cycle."""
    kernel: int = SMALL_KERNEL
    """Largest kernel of depthwise layers."""
    table_halves: int = 2
    """Jobs whose tables a cluster holds: the running one's and the next one's, or with 1, in half the memory, one's."""
    widths: Widths = field(default_factory=Widths)
    depths: Depths = field(default_factory=Depths)
    queues: Queues = field(default_factory=Queues)
    counters: bool = True
    """Whether it counts what its units do in every cycle (hw.contract.activity)."""

    def __post_init__(self) -> None:
        _expect(1 <= self.clusters <= 64, "clusters", "1 to 64", self.clusters)
        _expect(self.lanes in (1, 2, 4, 8), "lanes", "1, 2, 4 or 8 a cluster", self.lanes)
        _expect(self.adder_rows in (1, 2, 4), "adder_rows", "1, 2 or 4", self.adder_rows)
        _expect(self.pixel_tile in (1, 2, 4), "pixel_tile", "1, 2 or 4 pixels", self.pixel_tile)
        _expect(self.slice_channels in (2, 4, 8, 16, 32), "slice_channels", "2, 4, 8, 16 or 32", self.slice_channels)
        _expect(self.kernel in KERNELS, "kernel", " or ".join(map(str, KERNELS)), self.kernel)
        _expect(self.table_halves in (1, 2), "table_halves", "1 or 2", self.table_halves)
        banks = [count for count in (4, 8, 16) if count >= ROW_BANKS[self.kernel]]
        expected = f"{', '.join(map(str, banks[:-1]))} or {banks[-1]} image rows for kernels up to {self.kernel}"
        _expect(self.row_banks in banks, "row_store_banks", expected, self.row_banks)
        limits = {"weight": (2, 8), "shift": (1, 4), "accumulator": (8, 32), "bias_product": (2, 32), "bias": (2, 32)}
        limits |= {"predictor_sum": (6, 16), "level_shift": (1, 3)}
        for name, (low, high) in limits.items():
            bits = getattr(self.widths, name)
            _expect(low <= bits <= high, f"widths.{name}", f"{low} to {high} bits", bits)
        for group in (self.depths, self.queues):
            for item in dataclasses.fields(group):
                value = getattr(group, item.name)
                _expect(2 <= value <= 1 << 16, f"{type(group).__name__.lower()}.{item.name}", "2 to 65536 rows", value)
        for name in ("step", "accumulator", "output"):
            rows = getattr(self.depths, name)
            _expect(rows % self.adder_rows == 0, f"depths.{name}", f"a multiple of {self.adder_rows} adder rows", rows)

    def part_of_row(self, rows: int) -> int:
        """Rows of a memory, or output channels, that each adder row has at most: an equal share, rounded up."""
        return -(-rows // self.adder_rows)

    @property
    def taps(self) -> int:
        """Taps of the largest window; tap_places says which is which."""
        return self.kernel**2

    @property
    def row_banks(self) -> int:
        """Image rows that the row store holds."""
        return ROW_BANKS[self.kernel] if self.row_store_banks is None else self.row_store_banks

    @property
    def image_unit(self) -> int:
        """Number of the image unit where jobs name the cluster that they are for: it comes after the clusters."""
        return self.clusters

    @property
    def activation_words_ahead(self) -> int:
        """Words of activations asked for ahead at which a cluster asks for no further burst, in jobs with residuals."""
        return max(1, self.queues.activation // self.clusters)

    @property
    def multipliers(self) -> int:
        """Multipliers in all: one a lane."""
        return self.clusters * self.lanes

    def with_lanes(self, total: int) -> ArchonConfig:
        """The same machine with `total` lanes: 1, 2, 4 or 8 in one cluster, or a multiple of 8 in clusters of 8.

        Fewer lanes a cluster own more channels each, so the memories of a lane grow accordingly.
        """
        if total not in (1, 2, 4) and (total < 1 or total % CHANNELS_PER_WORD or total > 64 * CHANNELS_PER_WORD):
            raise ArchonError(f"LANES must be 1, 2, 4 or a multiple of {CHANNELS_PER_WORD} up to 512, got {total}")
        lanes = min(total, CHANNELS_PER_WORD)
        scaled = {
            name: max(2 * self.adder_rows, getattr(self.depths, name) * self.lanes // lanes)
            for name in ("activation", "turned_slices", "pair", "bias", "step", "accumulator")
        }
        depths = dataclasses.replace(self.depths, **scaled)
        return dataclasses.replace(self, clusters=total // lanes, lanes=lanes, depths=depths)


def _expect(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ArchonError(f"configuration: {name} must be {expected}, got {got}")


PRESETS: dict[str, ArchonConfig] = {
    "tiny": ArchonConfig(
        lanes=2,
        adder_rows=1,
        slice_channels=4,
        depths=Depths(
            activation=256, slices=16, turned_slices=128, row_store=256, pair=256, bias=64, step=512, accumulator=64, output=32
        ),
        queues=Queues(
            slice_word=2, survivor=4, pair=2, row=2, partial=4, activation=16, residual=4, output=2, table=8, image=4
        ),
    ),
    "small": ArchonConfig(
        depths=Depths(
            activation=512, slices=32, turned_slices=64, row_store=512, pair=256, bias=128, step=1024, accumulator=64, output=32
        ),
    ),
    "ecp5-85": ArchonConfig(
        lanes=4,
        adder_rows=1,
        slice_channels=8,
        table_halves=1,
        depths=Depths(
            activation=2048,
            slices=128,
            turned_slices=1024,
            row_store=2048,
            pair=1024,
            bias=256,
            step=4096,
            accumulator=128,
            output=64,
        ),
        queues=Queues(pair=2),
    ),
    "large": ArchonConfig(
        clusters=4, slice_channels=32, depths=Depths(activation=2048, slices=32, turned_slices=256, row_store=1024)
    ),
}
"""tiny: tests and place-and-route; small: the nano networks on 8 lanes; ecp5-85: full-size networks on an FPGA of that name;
large: full-size networks on 32 lanes."""


def preset(name: str) -> ArchonConfig:
    """The named preset; an unknown name is refused with the list of the known ones."""
    if name not in PRESETS:
        raise ArchonError(f"unknown preset {name!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
