"""The model of cycles beside what a run measured."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hw.contract.memory import MEMORY_LATENCY
from sim.hardware import Hardware, choose_hardware
from sim.report import write_whole
from sim.run import choose_images
from sim.toolchain import BUILD
from sw.bundle import find_bundle, load_bundle
from sw.cycles import network_cycles


@dataclass(frozen=True)
class LayerEstimate:
    """A layer's cycles by the model, and by the last run's report; means of the same images.

    Args:
        name: Of the layer.
        model: By the model.
        measured: On the RTL; None where the last run was another one.
        error: Of the model, as a share of what was measured.
    """

    name: str
    model: float
    measured: float | None
    error: float | None


@dataclass(frozen=True)
class Estimate:
    """All layers of a network, in their order, and what they were estimated for."""

    network: str
    preset: str
    multipliers: int
    memory_latency: int
    images: int
    seed: int
    layers: list[LayerEstimate]

    @property
    def total(self) -> LayerEstimate:
        """All layers together."""
        return _layer("all layers", sum(layer.model for layer in self.layers), _sum([layer.measured for layer in self.layers]))

    @property
    def worst(self) -> float | None:
        """The largest error of a layer, whatever its sign; None where nothing was measured."""
        errors = [abs(layer.error) for layer in self.layers if layer.error is not None]
        return max(errors, default=None)

    def table(self) -> Table:
        """A row a layer."""
        table = Table("layer", "model, cycles", "last run, cycles", "difference", "model's error")
        for column in table.columns[1:]:
            column.justify = "right"
        for layer in (*self.layers, self.total):
            measured, difference, error = "-", "-", "-"
            if layer.measured is not None and layer.error is not None:
                measured, error = f"{layer.measured:,.0f}", f"{100 * layer.error:+.1f} %"
                difference = f"{layer.model - layer.measured:+,.0f}"
            table.add_row(layer.name, f"{layer.model:,.0f}", measured, difference, error)
        return table

    def write(self, folder: Path) -> list[Path]:
        """estimate.json and estimate.csv; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "estimate.json", folder / "estimate.csv"]
        write_whole(files[0], lambda beside: beside.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8"))
        write_whole(files[1], self._write_rows)
        return files

    def _write_rows(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["name", "model", "measured", "error"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(layer) for layer in self.layers)


def estimate(
    network: str,
    preset: str | None,
    lanes: int | None,
    seed: int,
    console: Console,
    latency: int = MEMORY_LATENCY,
    build: Path = BUILD,
) -> Estimate:
    """Estimate every layer's cycles: of the last run's images where that was a run like this, else of the seed's first image.

    Raises:
        ArchonError: bundle or options do not allow it.
    """
    bundle = load_bundle(find_bundle(network))
    hardware = choose_hardware(bundle, lanes, preset)
    report = last_report(build / bundle.spec.name / "report.json", hardware, seed, latency)
    images = choose_images(bundle.spec, report["images"] if report else 1, seed).images
    with console.status(f"{bundle.spec.name}: golden model, lanes"):
        runs = [network_cycles(bundle, hardware.image, image, hardware.config, latency) for image in images]
    measured = {layer["name"]: layer["cycles"] for layer in report["layers"]} if report else {}
    layers = [
        _layer(of_image[0].name, sum(layer.cycles for layer in of_image) / len(runs), measured.get(of_image[0].name))
        for of_image in zip(*runs, strict=True)
    ]
    config = hardware.config
    return Estimate(bundle.spec.name, hardware.preset, config.multipliers, latency, len(images), seed, layers)


def last_report(path: Path, hardware: Hardware, seed: int, latency: int) -> dict[str, Any] | None:
    """The last run's report, if there was one with this accelerator, memory and seed."""
    if not path.is_file():
        return None
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found = tuple(report[name] for name in ("preset", "multipliers", "seed", "memory_latency"))
    return report if found == (hardware.preset, hardware.config.multipliers, seed, latency) else None


def _layer(name: str, model: float, measured: float | None) -> LayerEstimate:
    return LayerEstimate(name, model, measured, None if measured is None else model / measured - 1)


def _sum(values: list[float | None]) -> float | None:
    return None if None in values else sum(value for value in values if value is not None)
