"""Command line of the comparison of precisions: archon precision NETWORK."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import not_installed, refused, whole
from sw.datasets import reduced
from sw.precision.choices import Choice, choices_of
from sw.precision.comparison import Comparison, check_numbers, trained_folder
from sw.precision.page import keep_files
from sw.precision.render import terminal_tables, write_files
from sw.task import images_for, network_for

TABLE_WIDTH = 160

app = App(name="sw.precision", help="Accuracy, tables and adders of a trained network at other widths.")


@app.default
def main(
    network: str,
    *,
    dataset: Annotated[str, Parameter(help="cifar10, cifar100, fashion-mnist or svhn")] = "cifar10",
    images: Annotated[int | None, Parameter(converter=whole, help="only the first so many test images")] = None,
    steps: Annotated[int, Parameter(converter=whole, help="of training with each choice's numbers; 0: rounded only")] = 0,
    only: Annotated[list[str] | None, Parameter(help="kinds of choices", consume_multiple=True, negative="")] = None,
    seed: Annotated[int, Parameter(converter=whole, help="of the images that the steps take")] = 0,
    preset: Annotated[str, Parameter(help="for whose lanes and depths the tables are")] = "small",
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
    keep: Annotated[bool, Parameter(help="write what comes with the project, too", negative="")] = False,
) -> int:
    """Quantise a trained NETWORK at other widths: accuracy in integers, bits in tables, width of adders.

    Weights are those of stage quantized in BUILD/NETWORK/train, else those that come with the project. The table is
    BUILD/NETWORK/precision.json, .csv and .svg; what is there already, of the same weights and settings, is not measured again.
    """
    console = Console()
    try:
        spec = network_for(network, dataset)
        chosen, folder = choices_of(only), trained_folder(spec, build)
        check_numbers(steps, preset)  # before data are fetched
        test = reduced(images_for(spec, dataset, "test"), images, None)
        training = images_for(spec, dataset, "train")
        comparison = Comparison(spec, dataset, folder, build / spec.name, test, training, steps, seed, preset, console)
        return _carry_out(comparison, chosen, keep)
    except ModuleNotFoundError as error:
        return not_installed(error, "the comparison")
    except (ArchonError, OSError) as error:
        return refused(error)


def _carry_out(comparison: Comparison, chosen: list[Choice], keep: bool) -> int:
    """Measure, then show and write what there is, also of an interrupted comparison."""
    console = comparison.console
    try:
        comparison.run(chosen)
    finally:
        rows = comparison.rows
        if rows:
            paths = [*write_files(rows, comparison.build), *(keep_files(rows) if keep else [])]
            console.width = max(console.width, TABLE_WIDTH)
            for shown in terminal_tables(rows):
                console.print(shown)
            console.print(", ".join(map(str, paths)), highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(app())
