"""The work behind the curve: train every setting, measure it with every turn of the knob."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hw.contract.errors import ArchonError
from sw.arrays import file_digest, load_arrays
from sw.bundle.network import IntegerNetwork
from sw.datasets import ImageSet
from sw.quantize.network import quantize_network
from sw.run_folder import CHECKPOINT, WEIGHTS, read_finished
from sw.spec import NetworkSpec
from sw.survivors.measure import Ruler
from sw.survivors.points import Point, key_of, read_points, write_points
from sw.train.begun import way_of
from sw.train.here import ended
from sw.train.settings import Run, check_images, progress_of, shapes

Turn = tuple[float, float]
"""Levels by which the thresholds of both ReLUs are raised."""


def check_fits(run: Run, ruler: Ruler) -> None:
    """Raise ArchonError if the network that a run starts from does not fit the accelerator: better before the training."""
    weights = None if run.start is None else run.start / WEIGHTS
    if weights is not None and weights.is_file():
        ruler.check_fits(quantized(weights, run.spec, ruler))


def quantized(weights: Path, spec: NetworkSpec, ruler: Ruler) -> IntegerNetwork:
    """The integers of stage quantized's weights, which come with their scales."""
    return quantize_network(load_arrays(weights), spec, ruler.test.images[:1]).network


def check_runs(runs: Sequence[Run], training: ImageSet, test: ImageSet, folder: Path) -> None:
    """Refuse, before anything is trained, what would be refused in the end.

    Raises:
        ArchonError: too few images, a run that was begun otherwise in a setting's folder, or something else than a table.
    """
    read_points(folder)
    for run in runs:
        check_images(run, training)
        way_of(run, shapes(training, test))


def train_setting(run: Run, training: ImageSet, test: ImageSet, console: Console) -> None:
    """Train a setting that is not finished.

    Raises:
        ArchonError: as training does.
    """
    if (
        not run.anew
        and progress_of(run, shapes(training, test), None if run.start is None else run.start / CHECKPOINT) == "finished"
    ):
        return
    from sw.train.run import train  # noqa: PLC0415 (Keras takes seconds to load)

    accuracy = train(run, training, test)
    console.print(ended(run, accuracy), highlight=False, soft_wrap=True)


def measure_all(
    runs: Sequence[tuple[str, Path]], spec: NetworkSpec, turns: Sequence[Turn], ruler: Ruler, folder: Path
) -> list[Point]:
    """Points of all settings with all turns of the knob; those that the folder's table knows are not measured again.

    Other turns of these settings that the table knows, measured in the same way, are among them.

    Args:
        runs: names of settings, and the finished runs of stage quantized that they are of.
        spec: the network.
        turns: of the knob, for every setting.
        ruler: what measures.
        folder: of the table.

    Raises:
        ArchonError: a damaged table, a run that has not ended, or a network that cannot be measured.
    """
    known = {key_of(point.model_dump()): point for point in read_points(folder)}
    points: list[Point] = []
    for name, run in runs:
        settings = read_finished(run)
        if settings is None:
            raise ArchonError(f"{run}: expected a run that has ended, got one that can be resumed")
        weights = run / WEIGHTS
        network = quantized(weights, spec, ruler)
        of_run = {"setting": name, "weights": file_digest(weights), "epochs": settings.recipe.epochs}
        for first, second in turns:
            about = of_run | {"raised_first": first, "raised_second": second}
            key = key_of(about | ruler.asked)
            if key not in known:
                known[key] = Point.model_validate(about | ruler.measured(network, first, second))
                write_points(folder, list(known.values()))
        same = of_run | ruler.asked
        points += [point for point in known.values() if same.items() <= point.model_dump().items()]
    return points
