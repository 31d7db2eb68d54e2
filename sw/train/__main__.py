"""Command line of training: archon train NETWORK --stage STAGE, or python -m sw.train."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import refused
from sw.datasets import reduced
from sw.task import images_for, network_for
from sw.train.recipe import find_recipe

app = App(name="sw.train", help="Train a network, one stage after the other.")


@app.default
def main(
    network: str,
    *,
    dataset: Annotated[str, Parameter(help="cifar10, cifar100, fashion-mnist or svhn")] = "cifar10",
    stage: Literal["vanilla", "pruned", "pred", "quantized"] = "vanilla",
    epochs: Annotated[int | None, Parameter(help="instead of the recipe's number")] = None,
    resume: Annotated[bool, Parameter(help="continue an interrupted run")] = False,
    seed: int = 0,
    max_minutes: Annotated[float | None, Parameter(help="stop after the epoch in which this time ends")] = None,
    predictor: Annotated[Literal["forward", "constraint"], Parameter(help="how weights become ternary")] = "forward",
    kernel: Annotated[Literal["auto", "keras", "native"], Parameter(help="what computes the blocks")] = "auto",
    balanced: Annotated[bool, Parameter(help="prune as many weights of each input channel of a block")] = False,
    widen: Annotated[Path | None, Parameter(help="start from this run folder of a narrower network")] = None,
    survivors_first: Annotated[float | None, Parameter(help="share that may survive a block's first ReLU, 0 to 1")] = None,
    survivors_second: Annotated[float | None, Parameter(help="the same of the second ReLU")] = None,
    images: Annotated[int | None, Parameter(help="train on the first so many images only")] = None,
    test_images: Annotated[int | None, Parameter(help="test on the first so many images only")] = None,
    resolution: Annotated[int | None, Parameter(help="average all images down to this size")] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Train one stage of NETWORK (a known name or a TOML file); artefacts go to BUILD/NETWORK/train/STAGE.

    The stage before is taken from there, else from the runs that come with the project. For CIFAR-100 the network is called
    NETWORK-100, for data sets other than the CIFARs NETWORK-DATASET.
    """
    console = Console()
    try:
        from sw.train.run import Run, train, with_epochs, with_survivors  # noqa: PLC0415 (Keras takes seconds to load)
        from sw.train.stages import check_stage  # noqa: PLC0415

        spec = network_for(network, dataset)
        spec = spec.with_balanced_pruning() if balanced else spec
        folder = build / spec.name / "train" / stage
        recipe = with_survivors(with_epochs(find_recipe(spec.name, stage), epochs), survivors_first, survivors_second)
        run = Run(spec, stage, recipe, folder, seed, resume, None, max_minutes, predictor, kernel, widen, dataset)
        check_stage(spec, stage)
        training = reduced(images_for(spec, dataset, "train"), images, resolution)
        accuracy = train(run, training, reduced(images_for(spec, dataset, "test"), test_images, resolution))
    except ModuleNotFoundError as error:
        return refused(f"training needs {error.name}, which is not installed: `make train` installs it")
    except ArchonError as error:
        return refused(error)
    if accuracy is None:
        console.print(f"{spec.name} {stage}: time is up; continue with --resume")
    else:
        console.print(f"{spec.name} {stage}: test accuracy {100 * accuracy:.2f} %, weights in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(app())
