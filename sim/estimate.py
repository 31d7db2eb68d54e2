"""The model of cycles beside what a run measured."""

import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from sim.hardware import Hardware, choose_hardware
from sim.run import choose_images
from sim.toolchain import BUILD
from sw.bundle import find_bundle, load_bundle
from sw.cycles import fused_cycles


@dataclass(frozen=True)
class Estimate:
    """A fused block's cycles by the model, and by the last run's report if it was of the same lanes."""

    name: str
    cycles: int
    measured: float | None

    @property
    def error(self) -> float | None:
        """Of the model, as a share of what was measured."""
        return None if self.measured is None else self.cycles / self.measured - 1


def estimate(network: str, preset: str | None, lanes: int | None, seed: int, console: Console) -> list[Estimate]:
    """Estimate every fused block's cycles for the image that a run with this seed takes first.

    Raises:
        ArchonError: bundle or options do not allow it.
    """
    bundle = load_bundle(find_bundle(network))
    hardware = choose_hardware(bundle, lanes, preset)
    image = choose_images(bundle.spec, 1, seed).images[0]
    with console.status(f"{bundle.spec.name}: golden model, lanes"):
        cycles = fused_cycles(bundle, hardware.image, image, hardware.config)
    measured = _measured(bundle.spec.name, hardware)
    return [Estimate(name, found, measured.get(name)) for name, found in cycles.items()]


def _measured(network: str, hardware: Hardware) -> dict[str, float]:
    """Cycles by layer of the last run's report, if it was with this preset and these lanes."""
    path = BUILD / network / "report.json"
    if not path.is_file():
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    if (report["preset"], report["multipliers"]) != (hardware.preset, hardware.config.multipliers):
        return {}
    return {layer["name"]: layer["cycles"] for layer in report["layers"]}


def estimate_table(estimates: list[Estimate]) -> Table:
    """A row a block."""
    table = Table("block", "model, cycles", "last run, cycles", "model's error")
    for column in table.columns[1:]:
        column.justify = "right"
    for item in estimates:
        measured = "-" if item.measured is None else f"{item.measured:,.0f}"
        error = "-" if item.error is None else f"{100 * item.error:+.1f} %"
        table.add_row(item.name, f"{item.cycles:,}", measured, error)
    return table
