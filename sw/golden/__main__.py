"""Command line of the golden model: python -m sw.golden evaluate NET."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from hw.contract.errors import ArchonError
from sw.arrays import file_digest, write_whole
from sw.bundle import find_bundle, load_bundle
from sw.command import refused, whole
from sw.datasets import ImageSet, load_excerpt, reduced
from sw.golden.evaluation import Evaluation, evaluate
from sw.golden.record import record_for, record_path
from sw.task import images_for

app = App(name="sw.golden", help="The golden model: a network in exact integers.")


@app.command(name="evaluate")
def evaluate_command(
    net: str,
    *,
    images: Annotated[int | None, Parameter(converter=whole, help="only the first so many images")] = None,
    mode: Annotated[Literal["layerwise", "fused"], Parameter(help="fused also counts operations; slower")] = "layerwise",
    data: Annotated[Literal["test", "excerpt"], Parameter(help="the test set, or CIFAR-10's excerpt in the project")] = "test",
    dataset: Annotated[str | None, Parameter(help="of the test set, if another one than the bundle names")] = None,
    workers: Annotated[int | None, Parameter(converter=whole, help="processes; as many as processors by default")] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Accuracy of NET, a known network's name or the path of a bundle; written to BUILD/NET/evaluation.json as well.

    Of a trained bundle on its own data set's test images, BUILD/NET/integers.json keeps what archon results shows: of each mode
    the evaluation on most images. A bundle that is not called NET.archon has a file integers-STEM.json.
    """
    console = Console()
    try:
        path = find_bundle(net)
        network = load_bundle(path)
        own = network.provenance.get("dataset", "cifar10")
        name = dataset or own
        everything: ImageSet = load_excerpt() if data == "excerpt" else images_for(network.spec, name, "test")
        kept = data == "test" and name == own and network.provenance.get("weights") == "trained"
        record, key = record_path(build, network.spec.name, path), (network.spec.name, name, file_digest(path))
        if kept:
            record_for(record, *key)  # refuses a damaged file before the work, not after it
        chosen = reduced(everything, images, None)
        result = evaluate(network, chosen.images, chosen.labels, mode, workers=workers, console=console)
        target = build / network.spec.name / "evaluation.json"
        values = {**result.as_json(), "bundle": path.name, "data": data, "provenance": network.provenance}
        write_whole(target, (json.dumps(values, indent=2) + "\n").encode())
        if kept:
            record_for(record, *key).extended(result).write(record)
    except (ArchonError, OSError) as error:
        return refused(error)
    if result.blocks:
        console.print(_table(result))
    console.print(
        f"accuracy {100 * result.accuracy:.2f} % ({result.correct} of {result.images} images, {data}), "
        f"{result.wall_seconds:.1f} s, {result.images_per_second:.0f} images/s; {target}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _table(result: Evaluation) -> Table:
    table = Table(title=f"{result.network}, {result.mode}")
    headings = ("survivors 1st", "survivors 2nd", "agreement 1st", "agreement 2nd")
    table.add_column("block")
    for heading in headings:
        table.add_column(heading, justify="right")
    counted = any(block.multiplications_executed is not None for block in result.blocks)
    if counted:
        table.add_column("multiplications", justify="right")
        table.add_column("additions", justify="right")
    for block in result.blocks:
        shares = (
            block.survivors_first,
            block.survivors_second,
            block.predictor_agreement_first,
            block.predictor_agreement_second,
        )
        counts = (block.multiplications_executed or 0, block.additions_executed or 0) if counted else ()
        table.add_row(block.name, *(f"{share:.3f}" for share in shares), *(f"{count:,.0f}" for count in counts))
    return table


if __name__ == "__main__":
    sys.exit(app())
