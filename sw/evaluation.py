"""Command line of evaluation: a bundle in exact integers, or a stage of training as it is."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import check_idle, not_installed, refused, whole
from sw.datasets import reduced
from sw.golden.__main__ import evaluate_command
from sw.run_folder import CHECKPOINT, WEIGHTS, find_stage
from sw.task import bundle_for, images_for, network_for
from sw.train.recipe import LAST_STAGE, StageName


def evaluate(
    network: str,
    *,
    dataset: Annotated[str | None, Parameter(help="cifar10, cifar100, fashion-mnist or svhn; else the one it is for")] = None,
    stage: Annotated[StageName | None, Parameter(help="of training, in Keras")] = None,
    seed: Annotated[int | None, Parameter(converter=whole, help="of the stage's training, else 0")] = None,
    images: Annotated[int | None, Parameter(converter=whole, help="only the first so many test images")] = None,
    mode: Annotated[
        Literal["layerwise", "fused"] | None,
        Parameter(help="of integers: fused counts operations; else layerwise"),
    ] = None,
    workers: Annotated[
        int | None, Parameter(converter=whole, help="of integers: processes; as many as processors by default")
    ] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Accuracy on the test images.

    Without a stage, of NETWORK's bundle in integers: a bundle's path, the one that was exported to BUILD, or the one that comes
    with the project. With a stage, of what training left in BUILD/NETWORK/train/STAGE, with a seed in train-seed-SEED, or of
    the run that comes with the project.
    """
    console = Console()
    try:
        if stage is None:
            check_idle({"--seed": seed}, "--stage")
            return evaluate_command(
                str(bundle_for(network, dataset, build)),
                images=images,
                mode=mode or "layerwise",
                dataset=dataset,
                workers=workers,
                build=build,
            )
        check_idle({"--mode": mode, "--workers": workers}, "a bundle, no --stage,")
        spec = network_for(network, dataset or "cifar10")
        folder = find_stage(build, spec.name, stage, WEIGHTS if stage == LAST_STAGE else CHECKPOINT, seed or 0)
        from sw.train.evaluation import stage_accuracy  # noqa: PLC0415 (Keras takes seconds to load)

        data = reduced(images_for(spec, dataset or "cifar10", "test"), images, None)
        accuracy = stage_accuracy(spec, stage, folder, data)
    except ModuleNotFoundError as error:
        return not_installed(error, "evaluation of a stage")
    except (ArchonError, OSError) as error:
        return refused(error)
    console.print(
        f"{spec.name} {stage}: accuracy {100 * accuracy:.2f} % of {len(data.labels)} test images, {folder}", soft_wrap=True
    )
    return 0
