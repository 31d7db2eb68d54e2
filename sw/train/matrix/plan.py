"""The runs of a matrix: chains of stages, each of which starts from the one before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.datasets import find_dataset
from sw.train.options import Common, Options
from sw.train.recipe import StageName, stages_of
from sw.train.settings import Run, check_images, progress_of, shapes, stage_before, start_of


@dataclass(frozen=True)
class Combination:
    """A run of the matrix.

    Args:
        network: as on the command line.
        options: of the run.
        run: what they ask for.
        images: of the run, as sw.train.settings.shapes gives them.
    """

    network: str
    options: Options
    run: Run
    images: dict[str, list[int]]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run.spec.name} {self.run.stage}" + (f", seed {self.run.seed}" if self.run.seed else "")

    @property
    def resumed(self) -> "Combination":
        """The same, to continue from its checkpoint."""
        return replace(self, options=replace(self.options, resume=True), run=replace(self.run, resume=True))

    @property
    def begun_anew(self) -> "Combination":
        """The same, in place of whatever other run its folder holds."""
        return replace(self, options=replace(self.options, anew=True), run=replace(self.run, anew=True))

    def to_train(self, how: str) -> "Combination":
        """The same, to be trained where it has come as far as `progress` says."""
        return self.resumed if how == "interrupted" else self.begun_anew

    @property
    def command(self) -> str:
        """What trains it, alone, where there is nothing of it."""
        return replace(self.options, resume=False, anew=False).command(self.network)


Chain = list[Combination]
"""Stages of one network, data set and seed, in order."""


def plan(
    networks: Sequence[str], datasets: Sequence[str], stages: Sequence[StageName] | None, seeds: Sequence[int], common: Common
) -> list[Chain]:
    """Every combination, as chains; a stage that a network has not got is left out for it.

    Args:
        networks: names, or paths of descriptions.
        datasets: names.
        stages: in any order; None: all.
        seeds: of everything random.
        common: what all runs have in common.

    Raises:
        ArchonError: something that one of the runs cannot have, an option that changes nothing in any of them, a run asked for
            twice, or a stage to start from missing.
    """
    chains, asked = [], []
    for dataset in datasets:
        for network in networks:
            present = [stage for stage in stages_of(common.spec(network, dataset)) if stages is None or stage in stages]
            for seed in seeds:
                wanted = [(network, _options(dataset, stage, seed, common)) for stage in present]
                chain = [_combination(network, options) for _, options in wanted]
                asked += wanted
                _check_starts(chain)
                chains.append(chain)
    _check_effects(asked)
    _check_folders(combination.run.folder for chain in chains for combination in chain)
    found = {dataset: [chain for chain in chains if chain and chain[0].run.dataset == dataset] for dataset in datasets}
    return [chain for dataset, without in found.items() for chain in _with_images(dataset, without, common)]


def _options(dataset: str, stage: str, seed: int, common: Common) -> Options:
    shared = {field.name: getattr(common, field.name) for field in fields(common)}
    return Options(**shared, dataset=dataset, stage=stage, seed=seed)  # type: ignore[arg-type]


def _combination(network: str, options: Options) -> Combination:
    """A run with those of the options that change something in it: others of the matrix may need the rest."""
    effective = options.effective(network)
    return Combination(network, effective, effective.run(network), {})


def _check_effects(asked: Sequence[tuple[str, Options]]) -> None:
    """Raise ArchonError for an option that changes nothing in any of the runs, networks with their options."""
    idle = [options.idle(network) for network, options in asked]
    for name, reason in idle[-1].items() if idle else ():
        if all(name in others for others in idle):
            raise ArchonError(reason)


def _with_images(dataset: str, chains: Sequence[Chain], common: Common) -> Iterator[Chain]:
    """The chains of a data set, which is loaded once, with what their runs see of it."""
    load = find_dataset(dataset).load
    whole = [load("train", None), load("test", None)] if chains else []
    for chain in chains:
        training, test = common.fitted(chain[0].run.spec, *whole)
        for combination in chain:
            check_images(combination.run, training)
        yield [replace(combination, images=shapes(training, test)) for combination in chain]


def _check_starts(chain: Chain) -> None:
    """Raise ArchonError where a stage starts from one that is neither there nor in the chain."""
    stages = [combination.run.stage for combination in chain]
    for combination in chain:
        if combination.run.stage != stages_of(combination.run.spec)[0] and stage_before(combination.run) not in stages:
            start_of(combination.run)


def _check_folders(folders: Iterable[Path]) -> None:
    seen: set[Path] = set()
    for folder in folders:
        if folder in seen:
            raise ArchonError(f"{folder}: expected each run once, got it twice; networks need names of their own")
        seen.add(folder)


def progress(chain: Chain) -> list[str]:
    """How far each run of a chain has come, as progress_of says it; what follows a run to be trained is to be trained anew."""
    found: list[str] = []
    for combination in chain:
        anew = bool(found) and found[-1] != "finished"
        found.append("waiting" if anew else progress_of(combination.run, combination.images, start_of(combination.run)))
    return found
