"""Accuracy, survivors and cycles of one network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from hw.contract.config import preset
from hw.contract.errors import ArchonError
from sw.bundle.network import IntegerNetwork
from sw.bundle.thresholds import raised
from sw.cycles import network_cycles
from sw.datasets import ImageSet
from sw.golden.evaluation import evaluate
from sw.program import network_image


@dataclass(frozen=True)
class Ruler:
    """With what networks are measured.

    Attributes:
        test: images of the network's size, all of which are recognised.
        preset: of the accelerator.
        latency: of memory, in cycles.
        cycles_images: how many of the first images' cycles are estimated.
        workers: processes of the golden model; None: as many as there are processors.
        console: for progress.

    Raises:
        ArchonError: unknown preset, more or fewer images than there are, or numbers that no measurement can have.
    """

    test: ImageSet
    preset: str
    latency: int
    cycles_images: int
    workers: int | None
    console: Console

    def __post_init__(self) -> None:
        if self.cycles_images < 1 or self.cycles_images > len(self.test.labels):
            raise ArchonError(f"cycles-images: expected 1 to {len(self.test.labels)}, got {self.cycles_images}")
        if self.workers is not None and self.workers < 1:
            raise ArchonError(f"workers: expected at least 1, got {self.workers}")
        if self.latency < 0:
            raise ArchonError(f"latency: expected 0 or more, got {self.latency}")
        preset(self.preset)

    @property
    def asked(self) -> dict[str, Any]:
        """What a Point says of how it was measured."""
        return {
            "images": len(self.test.labels),
            "preset": self.preset,
            "latency": self.latency,
            "cycles_images": self.cycles_images,
        }

    def check_fits(self, network: IntegerNetwork) -> None:
        """Raise ArchonError unless the network fits the preset."""
        network_image(network, preset(self.preset))

    def measured(self, network: IntegerNetwork, first: float, second: float) -> dict[str, Any]:
        """What a Point says of the network with its thresholds raised.

        Raises:
            ArchonError: the network does not fit the preset, or predicts nothing.
        """
        turned = raised(network, first, second) if (first, second) != (0, 0) else network
        found = evaluate(turned, self.test.images, self.test.labels, workers=self.workers, console=self.console)
        cycles = self._cycles(turned)
        return self.asked | {
            "accuracy": found.accuracy,
            "survivors_first": float(np.mean([block.survivors_first for block in found.blocks])),
            "survivors_second": float(np.mean([block.survivors_second for block in found.blocks])),
            "cycles": float(np.mean([sum(layers.values()) for layers in cycles])),
            "block_cycles": float(np.mean([sum(layers[block.name] for block in found.blocks) for layers in cycles])),
        }

    def _cycles(self, network: IntegerNetwork) -> list[dict[str, int]]:
        """By layer, of every image."""
        config = preset(self.preset)
        image, pixels = network_image(network, config), self.test.images[: self.cycles_images]
        runs = [network_cycles(network, image, one, config, self.latency) for one in pixels]
        return [{layer.name: layer.cycles for layer in run} for run in runs]
