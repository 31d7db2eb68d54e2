"""Command line of a network's page."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hw.contract.errors import ArchonError
from sw.arrays import write_whole
from sw.command import refused, whole
from sw.page.facts import Facts, read_facts
from sw.page.render import render
from sw.task import bundle_for

IMAGES = 3


def report(
    network: str,
    *,
    dataset: Annotated[str | None, Parameter(help="cifar10, cifar100, fashion-mnist or svhn; else the one it is for")] = None,
    images: Annotated[int, Parameter(converter=whole, help="how many test images run through the network")] = IMAGES,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """One page of HTML on NETWORK: accuracy, sparsity, survivors, predictions and multiplications, from its bundle.

    NETWORK is a bundle's path, or the name of one that was exported to BUILD or comes with the project. Writes
    BUILD/NAME/NAME.html, which needs no other file, and its numbers as BUILD/NAME/NAME.json.
    """
    console = Console()
    try:
        facts = _read(bundle_for(network, dataset, build), dataset, images, build, console)
        with console.status("pictures"):
            page = render(facts)
        name = facts.network.spec.name
        path = build / name / f"{name}.html"
        write_whole(path.with_suffix(".json"), (json.dumps(facts.as_json(), indent=1) + "\n").encode())
        write_whole(path, page.encode())
    except (ArchonError, OSError) as error:
        return refused(error)
    console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    return 0


def _read(bundle: Path, dataset: str | None, images: int, build: Path, console: Console) -> Facts:
    """The facts, with a bar that shows which layer is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(bundle.name, total=None)

        def on_layer(layer: str, steps: int) -> None:
            progress.update(task, advance=1, total=steps, description=f"{bundle.stem}: {layer}")

        return read_facts(bundle, dataset, images, build, on_layer)
