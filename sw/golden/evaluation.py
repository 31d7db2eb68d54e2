"""Accuracy of a network over many images, on all processors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hw.contract.errors import ArchonError
from sw.bundle.network import IntegerNetwork
from sw.golden.counting import BlockCounts
from sw.golden.network import Mode, NetworkRun, run
from sw.golden.statistics import BlockStatistics

CHUNK = 96
"""Images of one task of a worker; several, so that progress can be shown."""

_WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    # Keep freed memory (glibc): giving large arrays back and faulting them in again takes a quarter of the time otherwise.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}


@dataclass(frozen=True)
class BlockEvaluation:
    """One block over all images; counts are means per image and only known when it ran fused."""

    name: str
    survivors_first: float
    survivors_second: float
    predictor_agreement_first: float
    predictor_agreement_second: float
    multiplications_executed: float | None
    additions_executed: float | None


@dataclass(frozen=True)
class Evaluation:
    """What came out, and how long it took."""

    network: str
    mode: Mode
    images: int
    correct: int
    accuracy: float
    wall_seconds: float
    images_per_second: float
    workers: int
    blocks: tuple[BlockEvaluation, ...]

    def as_json(self) -> dict[str, object]:
        """The members as JSON knows them."""
        return asdict(self)


@dataclass
class _Totals:
    """Collected over chunks."""

    correct: int
    statistics: dict[str, BlockStatistics]
    counts: dict[str, BlockCounts]

    def merge(self, other: _Totals) -> None:
        self.correct += other.correct
        for name, statistics in other.statistics.items():
            self.statistics.setdefault(name, BlockStatistics()).merge(statistics)
        for name, counts in other.counts.items():
            self.counts[name] = self.counts.get(name, BlockCounts(0, 0, 0)) + counts


def evaluate(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    mode: Mode = "layerwise",
    *,
    workers: int | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Run all images, with progress, and hold the predicted classes against the labels.

    Args:
        network: integer weights.
        images: uint8 (N, height, width, channels).
        labels: (N,).
        mode: "layerwise", or "fused" for operation counts as well.
        workers: processes; as many as there are processors when left out.
        console: for the progress bar.

    Raises:
        ArchonError: no images, as many labels as there are not images, or fewer than one worker.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    if len(images) != len(labels) or not len(images):
        raise ArchonError(f"evaluation: expected as many labels as images and at least one, got {len(labels)}, {len(images)}")
    if workers < 1:
        raise ArchonError(f"workers: expected at least 1, got {workers}")
    started = time.monotonic()
    totals = _Totals(0, {}, {})
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    workers = min(workers, len(chunks))
    with _progress(console) as progress:
        task = progress.add_task(f"{network.spec.name}, {mode}", total=len(images))
        tasks = [(network, images[chunk], labels[chunk], mode) for chunk in chunks]
        for chunk, part in zip(chunks, _results(tasks, workers), strict=True):
            totals.merge(part)
            progress.advance(task, len(images[chunk]))
    seconds = time.monotonic() - started
    return Evaluation(
        network=network.spec.name,
        mode=mode,
        images=len(images),
        correct=totals.correct,
        accuracy=totals.correct / len(images),
        wall_seconds=seconds,
        images_per_second=len(images) / seconds,
        workers=workers,
        blocks=tuple(_block(name, totals, len(images)) for name in totals.statistics),
    )


_Task = tuple[IntegerNetwork, NDArray[np.uint8], NDArray[np.integer], Mode]


def _results(tasks: list[_Task], workers: int) -> Iterator[_Totals]:
    if workers == 1:
        yield from map(_run_task, tasks)
        return
    # Fresh processes, so that they read their environment.
    with _worker_environment(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run_task, tasks)


@contextmanager
def _worker_environment() -> Iterator[None]:
    """For processes started meanwhile: one thread each, as they share the processors among themselves."""
    before = {name: os.environ.get(name) for name in _WORKER_ENVIRONMENT}
    os.environ.update(_WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run_task(task: _Task) -> _Totals:
    network, images, labels, mode = task
    result: NetworkRun = run(network, images, mode)
    counts = {name: _sum(parts) for name, parts in result.counts.items()}
    return _Totals(int(np.count_nonzero(result.classes == labels)), result.statistics, counts)


def _sum(parts: Iterable[BlockCounts]) -> BlockCounts:
    return sum(parts, BlockCounts(0, 0, 0))


def _block(name: str, totals: _Totals, images: int) -> BlockEvaluation:
    statistics, counts = totals.statistics[name], totals.counts.get(name)
    return BlockEvaluation(
        name=name,
        survivors_first=statistics.first.survivor_share,
        survivors_second=statistics.second.survivor_share,
        predictor_agreement_first=statistics.first.agreement,
        predictor_agreement_second=statistics.second.agreement,
        multiplications_executed=counts.multiplications / images if counts else None,
        additions_executed=counts.additions / images if counts else None,
    )


def _progress(console: Console | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)
