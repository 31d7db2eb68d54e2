"""An exploration: the cost model and synthesis of every point, then the RTL of some on the Pareto fronts."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from hw.contract.config import ArchonConfig
from hw.contract.errors import ArchonError
from hw.contract.memory import MEMORY_LATENCY
from sim.accelerator import Settings, run_images
from sim.compare import compare
from sim.digests import digest, sources
from sim.explore.area import AreaCache, read_hierarchy
from sim.explore.points import Journal, Point, dsp_of, lut4_of, pareto
from sim.explore.render import write_pictures
from sim.explore.space import Parameters, configured, difference, parameters_of, space
from sim.hardware import Hardware, choose_hardware
from sim.harness import harness_design
from sim.model import build
from sim.reference import make_reference
from sim.run import choose_images, progress_bar
from sim.summary import measured_counts
from sim.toolchain import BUILD
from sim.verilog import unit_verilog
from sw.bundle import find_bundle, load_bundle
from sw.bundle.network import IntegerNetwork
from sw.cycles import network_cycles
from sw.program import network_image

TOPLEVEL = "archon"


@dataclass(frozen=True)
class Request:
    """What to explore.

    Args:
        network: A known name or the path of a bundle.
        preset: The accelerator around which the points lie; the smallest that fits by default.
        many: More points.
        confirm: How many points of the Pareto fronts to run on the RTL; all by default.
        seed: Chooses the image.
        latency: Of external memory, in cycles.
    """

    network: str
    preset: str | None = None
    many: bool = False
    confirm: int | None = None
    seed: int = 1
    latency: int = MEMORY_LATENCY


class Exploration:
    """Points around an accelerator for a network, and what is found out about them.

    Args:
        request: What to explore.
        build: Where the files go: below explore/NETWORK.

    Raises:
        ArchonError: bundle or options do not allow it.
    """

    def __init__(self, request: Request, build: Path = BUILD) -> None:
        if request.confirm is not None and request.confirm < 0:
            raise ArchonError(f"CONFIRM must be 0 or more points, got {request.confirm}")
        self._request, path = request, find_bundle(request.network)
        self.network: IntegerNetwork = load_bundle(path)
        self._base = choose_hardware(self.network, None, request.preset)
        self._image: NDArray[np.uint8] = choose_images(self.network.spec, 1, request.seed).images
        self.folder = build / "explore" / self.network.spec.name
        self._areas = AreaCache(build / "explore" / "areas.json", build / "explore" / "synthesis")
        facts = {"network": self.network.spec.name, "bundle": request.network, "preset": self._base.preset}
        facts |= {"seed": str(request.seed), "memory_latency": str(request.latency)}
        self.journal = Journal(self.folder, facts)
        self._digests = {
            "model": digest([*sources("sw", "hw/contract"), path], *facts.values()),
            "area": digest(sources("hw")),
            "rtl": digest([*sources("sw/program", "hw"), path], *facts.values()),
        }
        base = parameters_of(self._base.config)
        wanted = space(self._base.config.multipliers, many=request.many).points(base)
        self.journal.begin([point for parameters in wanted if (point := self._point(parameters, base)) is not None])

    def _point(self, parameters: Parameters, base: Parameters) -> Point | None:
        """A point of which nothing is known yet; None where there is no such accelerator."""
        try:
            config = self._config(parameters)
        except ArchonError:
            return None
        made_of = {name: digest([], of_sources, repr(config)) for name, of_sources in self._digests.items()}
        return Point(difference(parameters, base), dict(parameters), sources=made_of)

    def _config(self, parameters: Parameters) -> ArchonConfig:
        return configured(self._base.config, parameters)

    def run(self, console: Console) -> list[Path]:
        """Find out what is not known yet, with a line for each result; returns the files."""
        with progress_bar(console) as bar:
            self._each(bar, "cost model", lambda point: point.cycles is None and point.refused is None, self._modelled)
            self._each(bar, "synthesis", lambda point: point.lut4 is None and point.refused is None, self._synthesised)
            self._draw()
            chosen = chosen_points(self.journal.points, self._request.confirm)
            self._each(bar, "RTL", lambda point: point.measured is None and point in chosen, self._run)
        return [*self.journal.files, *self._draw()]

    def _each(self, bar: Progress, what: str, wanted: Callable[[Point], bool], work: Callable[[Point], Point]) -> None:
        """Do some work on the points that want it; what comes of it is in the journal at once."""
        pending = [index for index, point in enumerate(self.journal.points) if wanted(point)]
        task = bar.add_task(what, total=len(pending))
        for index in pending:
            bar.update(task, description=f"{what}: {self.journal.points[index].name}")
            point = work(self.journal.points[index])
            self.journal.put(index, point)
            bar.console.print(f"{what}: {point.summary}", highlight=False, markup=False)
            bar.advance(task)
        bar.update(task, description=what)

    def _modelled(self, point: Point) -> Point:
        config = self._config(point.parameters)
        try:
            image = network_image(self.network, config)
        except ArchonError as error:
            return dataclasses.replace(point, refused=str(error))
        layers = network_cycles(self.network, image, self._image[0], config, self._request.latency)
        cycles = {layer.name: layer.cycles for layer in layers}
        return dataclasses.replace(point, cycles=sum(cycles.values()), layers=cycles)

    def _synthesised(self, point: Point) -> Point:
        text = unit_verilog(TOPLEVEL, self._config(point.parameters)).read_text(encoding="utf-8")
        area = self._areas.area(read_hierarchy(text, TOPLEVEL))
        return dataclasses.replace(point, lut4=area.lut4_sites, dsp=area.dsp, bram=area.bram, ff=area.ff)

    def _run(self, point: Point) -> Point:
        """On the RTL; the outputs have to be the golden model's."""
        config = self._config(point.parameters)
        hardware = Hardware(self._base.preset, config, network_image(self.network, config))
        reference = make_reference(self.network, self._image, hardware.image)
        model = build(harness_design(config, len(hardware.image.words)), optimize=2)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            settings = Settings(Path(folder), self._request.seed, self._request.latency)
            (run,) = run_images(model, hardware.image, reference, settings)
        counts = measured_counts(run, hardware.image)
        found = compare(reference.outputs, reference.counts, [run.outputs], [counts])
        if not found.bit_exact:
            raise ArchonError(f"{point.name}: expected what the golden model gives, got {found.mismatches} other numbers")
        layers = {name: of_layer["cycles"] for name, of_layer in counts.items()}
        return dataclasses.replace(point, measured=sum(layers.values()), measured_layers=layers)

    def _draw(self) -> list[Path]:
        return write_pictures(self.journal.points, self.network.spec.name, self.folder)


def chosen_points(points: Sequence[Point], count: int | None) -> list[Point]:
    """So many of the Pareto points, evenly spread, both ends first; all without a count."""
    front = pareto(points, lut4_of)
    front += [point for point in pareto(points, dsp_of) if point not in front]
    front.sort(key=lut4_of)
    if count is None or count >= len(front):
        return front
    places = np.linspace(0, len(front) - 1, count).round().astype(int) if count > 1 else [0] * count
    return [front[place] for place in places]
