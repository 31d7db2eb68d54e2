"""Measuring choices one after the other, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hw.contract.config import preset as find_preset
from hw.contract.errors import ArchonError
from sw.arrays import file_digest
from sw.datasets import ImageSet
from sw.precision.choices import Choice
from sw.precision.cost import VALUES, cost_of
from sw.precision.rows import Row, key, pack, read_json, with_gains, write_json
from sw.run_folder import CHECKPOINT, WEIGHTS, find_stage
from sw.spec import NetworkSpec
from sw.train.recipe import LAST_STAGE
from sw.train.starts import check_ended, check_run

if TYPE_CHECKING:
    from sw.train.precision import Trained

JSON = "precision.json"


def trained_folder(spec: NetworkSpec, build: Path) -> Path:
    """The run folder of stage quantized: in BUILD, else the one that comes with the project.

    Raises:
        ArchonError: there is none of this network that has ended, or nothing in the network is fused.
    """
    if not spec.predicts:
        raise ArchonError(f"{spec.name}: expected a network with fused blocks, got one without")
    folder = find_stage(build, spec.name, LAST_STAGE, WEIGHTS)
    check_run(spec, LAST_STAGE, folder)
    check_ended(folder)
    return folder


def check_numbers(steps: int, preset: str) -> None:
    """Raise ArchonError unless there are such a number of steps of tuning and such a preset."""
    if steps < 0:
        raise ArchonError(f"steps: expected 0 or more, got {steps}")
    find_preset(preset)


@dataclass(frozen=True)
class Comparison:
    """Measurements of one network.

    Args:
        spec: the network.
        dataset: whose images these are.
        folder: run folder of stage quantized.
        build: where rows are written.
        test: images of the accuracy.
        training: images that scales are found on, and that tuning takes.
        steps: of tuning with each choice's numbers.
        seed: of tuning.
        preset: name of the hardware whose tables are counted.
        console: where progress is shown.
    """

    spec: NetworkSpec
    dataset: str
    folder: Path
    build: Path
    test: ImageSet
    training: ImageSet
    steps: int
    seed: int
    preset: str
    console: Console

    @cached_property
    def digest(self) -> str:
        """Of what is measured."""
        path = self.folder / (CHECKPOINT if self.steps else WEIGHTS)
        if not path.exists():
            raise ArchonError(f"{path} is missing: expected it, to train from")
        return file_digest(path)

    @cached_property
    def trained(self) -> Trained:
        """What measures accuracy."""
        from sw.train.precision import Trained  # noqa: PLC0415 (Keras takes seconds to load)

        return Trained(self.spec, self.folder, self.training, self.seed)

    @property
    def rows(self) -> list[Row]:
        """What is measured of these weights for this preset, with gains; rows of earlier weights stay in JSON."""
        files = [path for path in (self.folder / WEIGHTS, self.folder / CHECKPOINT) if path.exists()]
        own = {file_digest(path) for path in files}
        found = [row for row in read_json(self.build / JSON) if row.digest in own]
        return with_gains([row for row in found if (row.dataset, row.preset) == (self.dataset, self.preset)])

    def run(self, choices: Sequence[Choice]) -> None:
        """Measure what has not been measured yet; each row is written at once.

        Raises:
            ArchonError: weights or data that do not fit, or a choice that no scale brings within its widths.
        """
        known = {key(row.model_dump()) for row in read_json(self.build / JSON)}
        for number, choice in enumerate(choices, 1):
            if key(self._settings(choice)) in known:
                continue
            row = self._measured(choice, f"{number}/{len(choices)} {choice}")
            write_json(self.build / JSON, [*read_json(self.build / JSON), row])
            accuracy = f"{100 * row.accuracy:.2f} %, A {row.adder_bits} bits, tables {row.table_bits / 8192:.1f} KiB"
            self.console.print(f"{choice}: {accuracy}", highlight=False, soft_wrap=True)

    def _measured(self, choice: Choice, title: str) -> Row:
        precision = choice.precision
        network = self.trained.tuned(precision, self.steps) if self.steps else self.trained.rounded(precision)
        cost = cost_of(network, precision, find_preset(self.preset))
        parts = []
        with _progress(self.console) as progress:
            task = progress.add_task(title, total=len(self.test.labels))
            for part in self.trained.recognised(network, precision, self.test):
                parts.append(part)
                progress.update(task, advance=len(part))
        right = np.concatenate(parts)
        costs = {
            "adder_bits": cost.widths.accumulator,
            "product_bits": cost.widths.product,
            "bias_product_bits": cost.widths.bias_product,
            "bias_bits": cost.widths.bias,
            "predictor_sum_bits": cost.widths.predictor_sum,
            "updates": cost.updates,
            "value_bits": cost.value_bits,
            "table_bits": cost.table_bits,
        } | {f"{kind.name.lower()}_rows": cost.rows[kind] for kind in VALUES}
        accuracy = {"correct": int(right.sum()), "right": pack(right)}
        return Row.model_validate(self._settings(choice) | accuracy | costs)

    def _settings(self, choice: Choice) -> dict[str, Any]:
        """The columns that are known before anything is measured."""
        about = {
            "network": self.spec.name,
            "dataset": self.dataset,
            "tuned_steps": self.steps,
            "images": len(self.test.labels),
            "preset": self.preset,
            "seed": self.seed if self.steps else 0,
            "digest": self.digest,
        }
        return about | choice.settings


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)
