"""Command line of the training's speed."""

from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import not_installed, refused, whole
from sw.spec import load_spec
from sw.train.recipe import find_recipe


def speed(
    network: str,
    *,
    kernel: Annotated[Literal["auto", "keras", "native"], Parameter(help="what computes the blocks")] = "auto",
    steps: Annotated[int, Parameter(converter=whole, help="training steps that are timed")] = 10,
) -> int:
    """Images a second of the input pipeline and of the training step (stage vanilla) on this machine."""
    console = Console()
    try:
        from sw.train.speed import measure  # noqa: PLC0415 (Keras takes seconds to load)

        spec = load_spec(network)
        found = measure(spec, find_recipe(spec, "vanilla"), kernel, steps)
    except ModuleNotFoundError as error:
        return not_installed(error)
    except (ArchonError, OSError) as error:
        return refused(error)
    console.print(
        f"{spec.name}: input pipeline {found.pipeline:,.0f} images/s, training step {found.step:,.1f} images/s; "
        f"the pipeline is {found.pipeline / found.step:,.1f} times as fast",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return 0
