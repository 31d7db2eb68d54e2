"""One seed's network through bundle, program and RTL, everything compared with the golden model."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.accelerator import ImageRun, Settings, run_images
from sim.activity import wrong_jobs
from sim.compare import Comparison, compare
from sim.coverage.collection import collect_samples
from sim.hardware import Hardware
from sim.options import Options
from sim.reference import make_reference
from sim.run import build_model
from sim.soak.case import Circumstances, describe, draw
from sim.soak.covering import case_samples
from sim.summary import measured_counts
from sw.bundle import load_bundle, save_bundle
from sw.bundle.network import IntegerNetwork
from sw.golden import run
from sw.program import MemoryImage, network_image
from tb.random_networks import RandomNetwork

BUNDLE = "network.archon"


@dataclass(frozen=True)
class Outcome:
    """What came of a seed.

    Args:
        seed: Of everything.
        passed: Whether every number was as expected.
        what: Was run, in one line.
        reason: Why it failed; empty where it passed.
        refused: Networks of the seed that did not fit, before the one that was run.
        compared: Activations, logits and counters.
        cycles: Of both images.
        seconds: Of everything.
    """

    seed: int
    passed: bool
    what: str
    reason: str = ""
    refused: int = 0
    compared: int = 0
    cycles: int = 0
    seconds: float = 0.0


class DifferenceError(Exception):
    """Something is not as expected; the message says what."""


Changed = Callable[[MemoryImage], MemoryImage]
"""What is done to programs and tables before they are run: nothing, but in tests."""


def check_seed(seed: int, folder: Path, say: Callable[[str], None], changed: Changed = lambda image: image) -> Outcome:
    """Run the network of a seed, and compare.

    Args:
        seed: What to run.
        folder: For the files of the run; removed where it passes.
        say: Gets a line about what is to be run, before it is.
        changed: As above.
    """
    what, refused, started = "", 0, time.monotonic()
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        circumstances, drawn = draw(seed)
        what, refused = describe(circumstances, drawn), len(drawn.refused)
        say(what)
        runs, comparison = _run(circumstances, drawn, folder, changed, seed)
    except Exception as error:  # whatever a random network brings to light is a finding, and the next one is to be run
        return Outcome(seed, False, what, f"{type(error).__name__}: {error}", refused, seconds=time.monotonic() - started)
    shutil.rmtree(folder)
    cycles, seconds = sum(run.cycles for run in runs), time.monotonic() - started
    return Outcome(seed, True, what, "", refused, comparison.compared, cycles, seconds)


def _run(
    circumstances: Circumstances, drawn: RandomNetwork, folder: Path, changed: Changed, seed: int
) -> tuple[list[ImageRun], Comparison]:
    network, config = _through_bundle(drawn.network, folder / BUNDLE), circumstances.config
    hardware = Hardware(circumstances.variant, config, network_image(network, config))
    _check_golden(network, drawn)
    reference = make_reference(network, drawn.pixels, hardware.image)
    model = build_model(hardware, Options("", bus=circumstances.bus))
    memory = {name: getattr(circumstances, name) for name in ("latency", "pause", "idle")}
    settings = Settings(folder, seed, bus=circumstances.bus, **memory)
    runs = run_images(model, changed(hardware.image), reference, settings)
    counts = [measured_counts(run, hardware.image) for run in runs]
    comparison = compare(reference.outputs, reference.counts, [run.outputs for run in runs], counts)
    if not comparison.bit_exact:
        raise DifferenceError(f"{comparison.mismatches} of {comparison.compared} numbers differ, first {comparison.first}")
    wrong = [sentence for run in runs for sentence in wrong_jobs(run, hardware.image, config)]
    if wrong:
        raise DifferenceError(f"{len(wrong)} counts of units do not add up, first {wrong[0]}")
    statistics = {layer.cost.name: layer.statistics for layer in reference.layers if layer.statistics is not None}
    collect_samples(case_samples(circumstances, drawn, statistics), f"soak-{seed}")
    return runs, comparison


def _through_bundle(network: IntegerNetwork, path: Path) -> IntegerNetwork:
    save_bundle(network, path)
    return load_bundle(path)


def _check_golden(network: IntegerNetwork, drawn: RandomNetwork) -> None:
    """Fused or layer by layer, before and behind the bundle: always the same numbers."""
    runs = [
        run(network, drawn.pixels, "fused", keep_activations=True),
        run(drawn.network, drawn.pixels, "layerwise", keep_activations=True),
    ]
    for name, activations in runs[0].activations.items():
        if not np.array_equal(activations, runs[1].activations[name]):
            raise DifferenceError(f"{name}: golden models fused and layer by layer differ")
    if not np.array_equal(runs[0].logits, runs[1].logits):
        raise DifferenceError("logits of the golden models fused and layer by layer differ")
