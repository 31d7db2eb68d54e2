"""Command line of the predictors' knob: archon thresholds NETWORK."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.bundle import load_bundle, save_bundle
from sw.bundle.bounds import check_network_bounds
from sw.bundle.network import IntegerNetwork
from sw.bundle.thresholds import raised
from sw.command import refused
from sw.task import bundle_for


def thresholds(
    network: str,
    *,
    first: Annotated[float, Parameter(help="levels of r1 by which the first ReLUs' thresholds rise")] = 0.0,
    second: Annotated[float, Parameter(help="the same of the second ReLUs")] = 0.0,
    dataset: Annotated[str | None, Parameter(help="that the network is for; CIFAR-10 by default")] = None,
    out: Annotated[Path | None, Parameter(help="instead of BUILD/NAME/NAME-raised.archon")] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Raise the thresholds of NETWORK's predictors, so that fewer activations survive: another bundle, nothing is trained.

    NETWORK is a bundle's path, or a name whose bundle was exported to BUILD or comes with the project. What the other bundle is
    worth, archon evaluate says; it runs on the hardware like any other: `make sim NET=its path`.
    """
    try:
        source = bundle_for(network, dataset, build)
        bundle = raised(load_bundle(source), first, second)
        check_network_bounds(bundle, Widths())
        path = _save(bundle, source, out or build / bundle.spec.name / f"{bundle.spec.name}-raised.archon")
    except (ArchonError, OSError) as error:
        return refused(error)
    Console().print(
        f"{source.name}, thresholds raised by {first:g} / {second:g} levels: {path}", highlight=False, soft_wrap=True
    )
    return 0


def _save(bundle: IntegerNetwork, source: Path, path: Path) -> Path:
    """Write a bundle, but not in place of the one that it was made from."""
    if path.exists() and path.samefile(source):
        raise ArchonError(f"{path}: expected --out with another place than the bundle's own")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_bundle(bundle, path)
    return path
