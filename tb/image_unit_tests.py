"""Image unit: every word of the windows' tensor, once; what it reads, when it is idle, what it does while jobs are held."""

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from hw.contract.activity import ACTIVITY, IMAGE_UNITS, discrepancies
from hw.contract.config import ArchonConfig
from hw.contract.descriptor import JOB, REPORT
from hw.contract.memory import IMAGE_CHANNELS, IMAGE_LEVELS, LEVEL_WORDS, pack_image, pack_levels, pack_tensor, window_bytes
from sw.program import ImageLayer, image_windows
from tb.bench import Bench, configuration
from tb.edges import bit, every_cycle
from tb.streams import PATTERNS, stalls

JOBS = 3
LATENCIES = [(0, 0), (1, 40)]
SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 5), (30, 27), (32, 32)]
"""Rows and columns of images that are run with every stride and number of channels."""


@dataclass(frozen=True)
class ImageCase:
    """A job, the words that it reads, and those that it writes, by their addresses."""

    fields: dict[str, int]
    levels: tuple[int, NDArray[np.uint64]]
    image: tuple[int, NDArray[np.uint64]]
    output: tuple[int, NDArray[np.uint64]]


class UnitBench(Bench):
    """The unit with its memory, of which only what a test marks as not missing may be read."""

    def __init__(self, dut: Any, name: str, words: int, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
        super().__init__(dut, f"{name} {latency}", idle, back_pressure)
        self.numbers = np.random.default_rng(self.random.getrandbits(64))
        dut.hold.value = 0
        dut.cycle.value = 0
        self.memory = self.serve(np.zeros(words, dtype=np.uint64), latency, write="write")
        self.memory.missing[:] = True
        self.jobs = self.source("jobs", JOB)
        self.reports = self.sink("reports", REPORT)
        self.activity = self.sink("activity", ACTIVITY)
        self._cycle, self._held = 0, list[bool]()
        pins = [f"{name}__{part}" for name in ("read_data", "reports", "jobs") for part in ("valid", "ready")]
        self._pins = {name: bit(dut[name]) for name in [*pins, "write__valid", "hold", "idle"]}
        every_cycle(dut, self._watch)

    def _watch(self, reset: bool) -> None:
        """Counts cycles; AssertionError where words are read without room for them, or the unit is idle with work in hand."""
        self._cycle += 1
        self.dut.cycle.value = self._cycle
        pins, held = self._pins, self._held
        if reset:
            held.clear()
            return
        assert pins["read_data__ready"]() or not pins["read_data__valid"](), "more words asked for than there is room for"
        hold = pins["hold"]()
        held[:] = [before and hold for before in held]
        if pins["idle"]():
            assert all(held), f"idle with jobs in hand, held: {held}"
            assert not pins["write__valid"](), "idle with a write on offer"
        if pins["reports__valid"]() and pins["reports__ready"]():
            held.pop(0)
        if pins["jobs__valid"]() and pins["jobs__ready"]():
            held.append(hold)

    def store(self, place: tuple[int, NDArray[np.uint64]]) -> None:
        """Put words into memory; they may be read."""
        address, words = place
        self.memory.words[address : address + len(words)] = words
        self.memory.missing[address : address + len(words)] = False

    async def finish(self, cases: list[ImageCase], earlier: int = 0) -> None:
        """Wait until the jobs, numbered from `earlier` on, are reported and the unit idle; compare all that was written."""
        await self.until(lambda: len(self.reports.items) == earlier + len(cases), "all reports")
        await self.until(lambda: self.dut.idle.value, "idle", limit=10)
        words = sum(len(case.output[1]) for case in cases)
        await self.cycles(10)
        assert self.dut.idle.value, "idle fell without a job"
        await self.until(lambda: not self.dut.counts_pending.value, "the last job's counts")
        ended = 0
        for case, report in zip(cases, self.reports.items[earlier:], strict=True):
            check_report(case.fields, report)
            assert report["start_cycle"] > ended, f"job {report['job']} to start after cycle {ended}, got {report}"
            ended = report["end_cycle"]
            counts = [row for row in self.activity.items if row["job"] == report["job"]]
            found = discrepancies(report, counts, IMAGE_UNITS, configuration())
            assert not found, "; ".join(found)
            cocotb.log.info("%s: %d cycles", description(case.fields), ended - report["start_cycle"] + 1)
            check_words(f"job {report['job']}", case, self.memory.words, self.memory.write_counts)
        assert self.memory.write_counts.sum() == 8 * words, (
            f"{words} words to write, got {self.memory.write_counts.sum()} bytes"
        )


def check_report(fields: dict[str, int], report: dict[str, int]) -> None:
    """The job's number, a duration, and counters of zero."""
    assert report["job"] == fields["job"], f"job {fields['job']} to report, got {report}"
    assert report["start_cycle"] < report["end_cycle"], f"cycles of {report}"
    assert not any(report[name] for name in ("multiplications", "additions", "steps")), f"counters of {report}"


def description(fields: dict[str, int]) -> str:
    """The size of a job's image and its stride."""
    size = "x".join(str(fields[f"input_{name}"]) for name in ("height", "width", "channels"))
    return f"{size}, stride {1 + fields['stride_two']}"


def check_words(where: str, case: ImageCase, words: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
    """Every output word of a case is as expected and was written once; the first other one is named."""
    address, expected = case.output
    got, times = words[address : address + len(expected)], counts[address : address + len(expected)]
    for index in np.argwhere(got != expected).reshape(-1)[:1]:
        plane, pixel = divmod(int(index), case.fields["plane_words"])
        raise AssertionError(f"{where}, plane {plane}, pixel {pixel}: expected {expected[index]:#018x}, got {got[index]:#018x}")
    assert (times == 1).all(), f"{where}: every byte to be written once, got {times.min()} to {times.max()} times"


def image_cases(config: ArchonConfig, random: np.random.Generator, layers: list[ImageLayer], first: int) -> list[ImageCase]:
    """Random images and the jobs for them, each thing somewhere between `first` and the others."""
    cases = []
    position = first
    for number, layer in enumerate(layers):
        channels, height, width = layer.input_shape
        image = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        levels = pack_levels(layer.levels)
        windows = image_windows(image, layer.levels, layer.stride)
        parts = [levels, pack_image(image), pack_tensor(windows[window_bytes(len(windows))])]
        addresses = [0] * len(parts)
        for index in random.permutation(len(parts)):
            addresses[index] = position = position + int(random.integers(0, 4))
            position += len(parts[index])
        (job,) = layer.plan(config).jobs
        placed = job.placed(number, addresses[1], addresses[2], [(addresses[0], len(levels))])
        levels_place, image_place, output_place = zip(addresses, parts, strict=True)
        fields = placed.fields | {"half": int(random.integers(2)), "barrier": 0}
        cases.append(ImageCase(fields, levels_place, image_place, output_place))
    return cases


def sized(random: np.random.Generator, height: int, width: int, channels: int, stride: int) -> ImageLayer:
    """An image of this size, with a random table."""
    levels = random.integers(-128, 128, IMAGE_LEVELS).astype(np.int8)
    return ImageLayer("image", (channels, height, width), levels, stride)


def random_sizes(random: np.random.Generator, count: int) -> list[ImageLayer]:
    """Small images of any kind."""
    return [
        sized(random, *(int(random.integers(1, top)) for top in (9, 10, IMAGE_CHANNELS + 1, 3))) for _ in range(count)
    ]  # fmt: skip


@cocotb.test()
@cocotb.parametrize(stalls(), latency=LATENCIES)
async def jobs_in_a_row(dut: Any, idle: str, back_pressure: str, latency: tuple[int, int]) -> None:
    """Images of other sizes, each with its own table, offered while the one before is under way."""
    bench = UnitBench(dut, "row", 1 << 13, idle, back_pressure, latency)
    cases = image_cases(configuration(), bench.numbers, random_sizes(bench.numbers, JOBS), 0)
    for case in cases:
        bench.store(case.levels)
        bench.store(case.image)
    await bench.reset()
    assert dut.idle.value, "not idle after reset"
    bench.jobs.send(*(case.fields for case in cases))
    await bench.finish(cases)
    words = sum(LEVEL_WORDS + len(case.image[1]) for case in cases)
    assert bench.memory.words_read == words, f"{words} words to read, {bench.memory.words_read} were"


@cocotb.test()
@cocotb.parametrize(channels=range(1, IMAGE_CHANNELS + 1), stride=[1, 2])
async def images_of_all_sizes(dut: Any, channels: int, stride: int) -> None:
    """Single pixels, rows and columns, odd and even sizes, and rows that fill the buffers."""
    config = configuration()
    bench = UnitBench(dut, f"sizes {channels} {stride}", 1 << 15, "never", "never", (20, 20))
    sizes = [*SIZES, (3, config.depths.image_row)]
    cases = image_cases(config, bench.numbers, [sized(bench.numbers, *size, channels, stride) for size in sizes], 0)
    for case in cases:
        bench.store(case.levels)
        bench.store(case.image)
    await bench.reset()
    bench.jobs.send(*(case.fields for case in cases))
    await bench.finish(cases)


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), running=[False, True])
async def held_jobs_wait(dut: Any, idle: str, running: bool) -> None:
    """A job taken while `hold` is high reads its table alone, even where it meets a job at work, until `hold` falls."""
    bench = UnitBench(dut, f"hold {running}", 1 << 13, idle, "rarely", (5, 20))
    sizes = [sized(bench.numbers, 6, 6, 3, 1), *random_sizes(bench.numbers, 2)]
    cases = image_cases(configuration(), bench.numbers, sizes, 0)[0 if running else 1 :]
    held = cases[1:] if running else cases
    for case in cases:
        bench.store(case.levels)
    await bench.reset()
    expected = LEVEL_WORDS
    if running:
        bench.store(cases[0].image)
        bench.jobs.send(cases[0].fields)
        await bench.until(lambda: bench.memory.words_written, "the first write")
        expected += len(cases[0].image[1]) + LEVEL_WORDS
    dut.hold.value = 1
    bench.jobs.send(*(case.fields for case in held))
    await bench.until(lambda: bench.memory.words_read == expected, "the table of the held job")
    await bench.until(lambda: dut.idle.value, "idle with a held job")
    written = bench.memory.words_written
    await bench.cycles(100)
    assert dut.idle.value, "idle fell although the job is held"
    assert bench.memory.words_read == expected, "a held job reads more than its table"
    assert bench.memory.words_written == written == (len(cases[0].output[1]) if running else 0), "a held job writes"
    for case in held:
        bench.store(case.image)
    dut.hold.value = 0
    await bench.finish(cases)


@cocotb.test()
@cocotb.parametrize(
    (("counter", "count"), [("words_read", 9), ("words_read", 40), ("words_written", 1), ("words_written", 70)])
)
async def reset_in_the_middle(dut: Any, counter: str, count: int) -> None:
    """A job that a reset cuts short while its table or its image is read or written leaves no trace in the next one."""
    bench = UnitBench(dut, f"reset {counter} {count}", 1 << 13, "rarely", "rarely", (1, 20))
    config = configuration()
    [cut] = image_cases(config, bench.numbers, [sized(bench.numbers, 7, 6, 3, 1)], 0)
    cases = image_cases(config, bench.numbers, random_sizes(bench.numbers, 1), 1 << 12)
    for case in (cut, *cases):
        bench.store(case.levels)
        bench.store(case.image)
    await bench.reset()
    bench.jobs.send(cut.fields)
    await bench.until(lambda: getattr(bench.memory, counter) >= count, counter)
    assert not dut.idle.value, "the job is to be cut short, but it has ended"
    await bench.reset()
    bench.memory.write_counts[:] = 0
    bench.jobs.send(*(case.fields for case in cases))
    await bench.finish(cases)
