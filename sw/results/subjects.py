"""Which networks on which data sets the table is of, and where their logs may lie."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hw.contract.errors import ArchonError
from sw.bundle.bundle_file import SUFFIX, TRAINED_FOLDER
from sw.datasets import DATASETS, find_dataset
from sw.golden.record import RECORD
from sw.run_folder import CONFIG, KEPT_RUNS, stages_folder
from sw.spec import NetworkSpec, known_specs, parse_spec
from sw.task import NAMED_BY_CLASSES, network_for

FULL_SIZE = 100_000_000
"""Multiply-accumulates of an image that are too many for training on a CPU."""

ROOT = Path(__file__).parents[2]
"""The project, to which paths in it are given."""


class Sizes(NamedTuple):
    """Parameters, multiply-accumulates of an image, and those of what is fused, all weights counted."""

    parameters: int
    multiply_accumulates: int
    fused: int


@dataclass(frozen=True)
class Subject:
    """A network on a data set.

    Attributes:
        network: its description's name, the same on all data sets.
        dataset: one of DATASETS.
        spec: the description for that data set, under the name that its folders have.
        own: its description does not come with the project.
    """

    network: str
    dataset: str
    spec: NetworkSpec
    own: bool = False

    @property
    def argument(self) -> str:
        """What a command line calls it."""
        return f"{self.network}.toml" if self.own else self.network

    @cached_property
    def sizes(self) -> Sizes:
        """What follows from the description alone."""
        fused = sum(layer.multiply_accumulates for layer in self.spec.layers if layer.kind.startswith("fused"))
        return Sizes(self.spec.parameters(), self.spec.multiply_accumulates(), fused)

    @property
    def full_size(self) -> bool:
        """Whether it is too large to be trained on a CPU."""
        return self.sizes.multiply_accumulates > FULL_SIZE

    @property
    def images(self) -> int:
        """Of the whole test set."""
        return find_dataset(self.dataset).images["test"]

    @property
    def training_images(self) -> int:
        """Of the whole training set."""
        return find_dataset(self.dataset).images["train"]


@dataclass(frozen=True)
class Sources:
    """Where logs and bundles lie.

    Attributes:
        runs: those that come with the project, NAME/STAGE and NAME/integers.json.
        bundles: those that come with the project, NAME.archon.
        build: what was made here, NAME/train/STAGE, NAME/integers.json and NAME/NAME.archon; it goes before what comes with
            the project. None: that alone.
    """

    runs: Path = KEPT_RUNS
    bundles: Path = TRAINED_FOLDER
    build: Path | None = None

    def run_folders(self, name: str, stage: str) -> list[Path]:
        """Folders that may hold a run, the first one first."""
        here = [] if self.build is None else [stages_folder(self.build, name) / stage]
        return [*here, self.runs / name / stage]

    def bundles_and_records(self, name: str) -> list[tuple[Path, Path]]:
        """Files that may hold a bundle, each with that of its evaluations; the first pair first."""
        here = [] if self.build is None else [(self.build / name / f"{name}{SUFFIX}", self.build / name / RECORD)]
        return [*here, (self.bundles / f"{name}{SUFFIX}", self.runs / name / RECORD)]

    def configs(self) -> list[Path]:
        """The settings of all runs."""
        here = [] if self.build is None else self.build.glob(f"*/train/*/{CONFIG}")
        return sorted([*here, *self.runs.glob(f"*/*/{CONFIG}")])

    def shown(self, path: Path) -> str:
        """A path as text: in the project, from its root."""
        absolute = path.absolute()
        return absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else str(path)


def subjects(sources: Sources) -> list[Subject]:
    """Data set by data set: the networks that come with the project, on both CIFARs, and whatever else was trained.

    Raises:
        ArchonError: settings of a run that cannot be read.
    """
    found = {name_of(path): path for path in sources.configs()}
    datasets = [name for name in DATASETS if name in NAMED_BY_CLASSES or any(run.endswith(f"-{name}") for run in found)]
    known = [Subject(name, dataset, network_for(name, dataset)) for dataset in datasets for name in known_specs()]
    shown = [subject for subject in known if subject.dataset in NAMED_BY_CLASSES or subject.spec.name in found]
    names = {subject.spec.name for subject in known}
    shown += [own_subject(path) for name, path in found.items() if name not in names]
    order = list(DATASETS)
    return sorted(shown, key=lambda subject: order.index(subject.dataset))


def name_of(config: Path) -> str:
    """The network whose run this is, from the folder's place."""
    folder = config.parents[1]
    return folder.parent.name if folder.name == "train" else folder.name


def own_subject(config: Path) -> Subject:
    """A network whose description does not come with the project.

    Raises:
        ArchonError: the settings are not those of a run.
    """
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        spec, dataset = parse_spec(values["network"]), values.get("dataset", "cifar10")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArchonError(f"{config}: expected the settings of a training run, got something else") from error
    find_dataset(dataset)
    if spec.name != name_of(config):
        raise ArchonError(f"{config}: expected a run of {name_of(config)}, by the folder's name, got one of {spec.name}")
    suffix = {"cifar10": "", "cifar100": "-100"}.get(dataset, f"-{dataset}")
    return Subject(spec.name.removesuffix(suffix), dataset, spec, own=True)
