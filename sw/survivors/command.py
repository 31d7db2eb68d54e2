"""Command line of the curve: archon survivors NETWORK."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from hw.contract.memory import MEMORY_LATENCY
from sw.command import not_installed, refused, whole
from sw.survivors.curve import check_fits, check_runs, measure_all, train_setting
from sw.survivors.measure import Ruler
from sw.survivors.picture import write_picture
from sw.survivors.points import TABLE
from sw.survivors.render import table
from sw.survivors.settings import named_run, options_of, parse_raise, parse_setting
from sw.task import network_for
from sw.train.options import Options

DEFAULT_LIMITS = ("0.5/0.4", "0.4/0.3", "0.35/0.25", "0.3/0.2", "0.25/0.15")


def survivors(
    network: str,
    *,
    limits: Annotated[list[str], Parameter(help="FIRST/SECOND of a setting; +dense, +unbiased", consume_multiple=True)]
    | None = None,
    raises: Annotated[list[str], Parameter(help="FIRST/SECOND levels, for each setting", consume_multiple=True)] | None = None,
    also: Annotated[list[Path], Parameter(help="finished runs of stage quantized", consume_multiple=True)] | None = None,
    dataset: Annotated[str, Parameter(help="cifar10, cifar100, fashion-mnist or svhn")] = "cifar10",
    epochs: Annotated[int, Parameter(converter=whole, help="for which every setting is trained")] = 2,
    ramp: Annotated[float, Parameter(help="fraction of the steps in which the limits fall")] = 0.5,
    start: Annotated[Path | None, Parameter(help="run folder that all settings start from; else stage quantized's")] = None,
    anew: Annotated[
        bool, Parameter(help="delete the settings' runs that are there, and train them again", negative="")
    ] = False,
    seed: Annotated[int, Parameter(converter=whole, help="of everything random")] = 0,
    images: Annotated[int | None, Parameter(converter=whole, help="train on the first so many images only")] = None,
    test_images: Annotated[int | None, Parameter(converter=whole, help="measure on the first so many test images only")] = None,
    preset: Annotated[str, Parameter(help="accelerator whose cycles are estimated")] = "small",
    latency: Annotated[int, Parameter(converter=whole, help="of its memory, in cycles")] = MEMORY_LATENCY,
    cycles_images: Annotated[int, Parameter(converter=whole, help="test images whose cycles are estimated")] = 8,
    workers: Annotated[
        int | None, Parameter(converter=whole, help="processes that measure; as many as processors by default")
    ] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Accuracy against survivors against cycles: NETWORK fine-tuned with several limits, each measured with several thresholds.

    Every setting is trained from the same network for as long; runs that were trained otherwise, BUILD/NETWORK/train/quantized,
    are measured with them, or alone where no limits are given, named after their limits and BUILD. What is there already is not
    trained or measured again. The table goes to BUILD/NETWORK/survivors/survivors.csv and .json, the picture beside them.
    """
    console = Console()
    try:
        settings = [parse_setting(text) for text in limits or (() if also else DEFAULT_LIMITS)]
        spec = network_for(network, dataset)
        turns = [(0.0, 0.0), *(parse_raise(text, spec) for text in raises or ())]
        common = Options(
            dataset=dataset,
            seed=seed,
            epochs=epochs,
            images=images,
            survivor_ramp=ramp,
            start=start,
            anew=anew,
            test_images=test_images,
        )
        runs = {setting.name: options_of(setting, common, build, spec).run(network) for setting in settings}
        others = [named_run(path, spec) for path in also or ()]
        training, test = common.data(spec, dataset)
        ruler = Ruler(test, preset, latency, cycles_images, workers, console)
        folder = build / spec.name / "survivors"
        for run in list(runs.values())[:1]:  # all start from the same network
            check_fits(run, ruler)
        check_runs(list(runs.values()), training, test, folder)
        for run in runs.values():
            train_setting(run, training, test, console)
        finished = [(name, run.folder) for name, run in runs.items()]
        points = measure_all([*finished, *others], spec, turns, ruler, folder)
        picture = write_picture(folder, spec.name, points)
    except ModuleNotFoundError as error:
        return not_installed(error)
    except (ArchonError, OSError) as error:
        return refused(error)
    console.print(table(spec.name, points))
    console.print(f"{folder / TABLE}, {picture}", highlight=False, soft_wrap=True)
    return 0
