"""Command line of the exporter: python -m sw.export SPEC --weights random|trained."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.bundle import check_network_bounds, find_bundle, known_bundles, load_bundle, save_bundle
from sw.command import check_idle, refused, whole
from sw.datasets import ImageSet, cropped, fitted, load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.export.report import layer_table
from sw.quantize.network import HAS_SCALES, Quantized, quantize_network
from sw.run_folder import WEIGHTS, first_having, read_facts, stages_folder
from sw.spec import NetworkSpec, load_spec
from sw.task import images_for, network_for
from sw.train.starts import check_run

STAGES = ("quantized", "pred")
"""Stages whose weights can be exported; the first one that was trained is taken."""

RANDOM_SEED = 1
"""Of random weights, unless another one is given."""

SHARES = 0.4, 0.3
"""Of first and second ReLUs that survive in random networks, unless others are given."""

RANDOM_IMAGES = 2
"""Calibration images of a random network: more change little and take their time at full size."""

TRAINED_IMAGES = 64
"""Training images on which scales are found that do not come with a trained network."""

app = App(name="sw.export", help="Make a bundle: a network in integers, ready for golden model and simulation.")


@app.default
def main(
    spec: str,
    *,
    weights: Literal["random", "trained"] = "random",
    seed: Annotated[int | None, Parameter(converter=whole, help="of random weights, else 1; of the training, else 0")] = None,
    survivors_first: Annotated[float | None, Parameter(help="share of first ReLUs that survive (random), else 0.4")] = None,
    survivors_second: Annotated[float | None, Parameter(help="share of second ReLUs that survive (random), else 0.3")] = None,
    balanced: Annotated[bool, Parameter(help="as many zeros in each input channel of a block (random)")] = False,
    classes: Annotated[
        int | None, Parameter(converter=whole, help="other than the specification has; the network is then NAME-CLASSES")
    ] = None,
    dataset: Annotated[str | None, Parameter(help="that it was trained on: cifar10, cifar100, fashion-mnist or svhn")] = None,
    out: Annotated[Path | None, Parameter(help="instead of BUILD/NAME/NAME.archon")] = None,
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build"),
) -> int:
    """Export SPEC, the name of a network or the path of a TOML file."""
    console = Console()
    try:
        if dataset is not None:
            check_idle({"--classes": classes}, "no --dataset, which says how many,")
        network = load_spec(spec, classes) if dataset is None else network_for(spec, dataset)
        path = out or build / network.name / f"{network.name}.archon"
        shares = {"--survivors-first": survivors_first, "--survivors-second": survivors_second}
        if weights == "trained":
            check_idle({**shares, "--balanced": balanced}, "--weights random")
        if weights == "random":
            survivors = Survivors(
                *(share if given is None else given for share, given in zip(SHARES, shares.values(), strict=True))
            )
            with console.status(f"{network.name}: random weights, calibration"):
                quantized = export_random(network.with_balanced_pruning() if balanced else network, seed, survivors, path)
            console.print(layer_table(quantized, Widths()))
        elif seed is None and network.name in known_bundles() and trained_weights(network, build) is None:
            copy_bundle(network, path)
            console.print(f"{network.name}: nothing was trained in {build}; the bundle that comes with the project was copied")
        else:
            with console.status(f"{network.name}: quantisation of the trained weights"):
                quantized = export_trained(network, build, path, seed or 0)
            console.print(layer_table(quantized, Widths()))
    except (ArchonError, OSError) as error:
        return refused(error)
    console.print(f"{network.name}, {weights} weights: {path}", highlight=False, soft_wrap=True)
    return 0


def export_random(spec: NetworkSpec, seed: int | None, survivors: Survivors, path: Path) -> Quantized:
    """Make a random network and write its bundle."""
    seed = RANDOM_SEED if seed is None else seed
    images = cropped(load_excerpt().images[:RANDOM_IMAGES], spec.height, spec.width)
    quantized = random_network(spec, seed, survivors, images)
    provenance = {
        "weights": "random",
        "seed": str(seed),
        "survivors": f"{survivors.first} first, {survivors.second} second, asked for",
    }
    return _written(quantized, provenance, path)


def trained_weights(spec: NetworkSpec, build: Path, seed: int = 0) -> Path | None:
    """The weights of the last stage that was trained, if any."""
    trained = stages_folder(build, spec.name, seed)
    folder = first_having((trained / stage for stage in STAGES), WEIGHTS)
    return None if folder is None else folder / WEIGHTS


def export_trained(spec: NetworkSpec, build: Path, path: Path, seed: int = 0) -> Quantized:
    """Quantise the weights that training left in the build folder and write their bundle.

    Raises:
        ArchonError: there are none, or of another network, or of a run that has not ended; or weights that do not fit.
    """
    source = trained_weights(spec, build, seed)
    if source is None:
        folder = stages_folder(build, spec.name, seed)
        raise ArchonError(f"{spec.name}: expected weights of stage {' or '.join(STAGES)} under {folder}, got none")
    facts = read_facts(source.parent)
    check_run(spec, source.parent.name, source.parent)
    arrays = load_arrays(source)
    if HAS_SCALES in arrays:
        excerpt = load_excerpt()
        images = fitted(ImageSet(excerpt.images[:1], excerpt.labels[:1]), spec.height, spec.width, spec.channels).images
    else:
        images = images_for(spec, facts.dataset, "train").images[:TRAINED_IMAGES]
    return _written(quantize_network(arrays, spec, images), facts.provenance(), path)


def copy_bundle(spec: NetworkSpec, path: Path) -> None:
    """Take the trained bundle that comes with the project, after reading it whole.

    Raises:
        ArchonError: there is none, or it is of another network than the specification.
    """
    source = find_bundle(spec.name)
    if load_bundle(source).spec != spec:
        raise ArchonError(f"{source.name}: expected the network of the specification {spec.name}, got another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    shutil.copyfile(source, beside)
    beside.replace(path)


def _written(quantized: Quantized, provenance: dict[str, str], path: Path) -> Quantized:
    """Prove that no sum can overflow, then write the bundle."""
    check_network_bounds(quantized.network, Widths())
    network = quantized.network.replaced(provenance=provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_bundle(network, path)
    return Quantized(network, quantized.blocks, quantized.scales)


if __name__ == "__main__":
    sys.exit(app())
