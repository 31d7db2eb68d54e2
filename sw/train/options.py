"""Options of a training run on the command line, and the run that they ask for."""

import dataclasses
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from hw.contract.errors import ArchonError
from sw.command import whole
from sw.datasets import ImageSet, find_dataset, fitted, reduced
from sw.run_folder import stages_folder
from sw.spec import NetworkSpec
from sw.task import network_for
from sw.train.effects import option_words, without_effect
from sw.train.recipe import PredictorTraining, Recipe, StageName, check_stage, find_recipe, with_epochs, with_survivors
from sw.train.settings import Run
from sw.train.starts import holds_masks

CHOSEN = ("predictor", "dense_predictors", "value_biases", "survivor_costs")
"""Options that stand in the place of what the recipe says."""


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What runs of any network, data set, stage and seed may have in common."""

    epochs: Annotated[int | None, Parameter(converter=whole, help="instead of the recipe's number")] = None
    max_minutes: Annotated[float | None, Parameter(help="stop after the epoch in which this time ends")] = None
    evaluate_every: Annotated[int, Parameter(converter=whole, help="epochs between evaluations; the last one has its own")] = 1
    predictor: Annotated[PredictorTraining | None, Parameter(help="how its weights become ternary")] = None
    kernel: Annotated[Literal["auto", "keras", "native"], Parameter(help="what computes the blocks")] = "auto"
    devices: Annotated[int | None, Parameter(converter=whole, help="that share every batch (JAX); all GPUs by default")] = None
    balanced: Annotated[bool, Parameter(help="prune as many weights of each input channel of a block")] = False
    survivors_first: Annotated[str | None, Parameter(help="share that may survive a block's first ReLU, or 0.4,0.3,...")] = None
    survivors_second: Annotated[str | None, Parameter(help="the same of the second ReLU")] = None
    survivor_ramp: Annotated[float | None, Parameter(help="fraction of the steps in which these limits fall")] = None
    survivor_costs: Annotated[bool | None, Parameter(help="limits count channels by what their survivors add up")] = None
    dense_predictors: Annotated[bool | None, Parameter(help="predictors with weights where pruning left none")] = None
    value_biases: Annotated[bool | None, Parameter(help="b1 and b2 in fused blocks (stage quantized)")] = None
    images: Annotated[int | None, Parameter(converter=whole, help="train on the first so many images only")] = None
    test_images: Annotated[int | None, Parameter(converter=whole, help="test on the first so many images only")] = None
    resolution: Annotated[int | None, Parameter(converter=whole, help="average all images down to this size")] = None
    build: Annotated[Path, Parameter(help="folder of all artefacts")] = Path("build")

    def spec(self, network: str, dataset: str) -> NetworkSpec:
        """The description of a network for a data set.

        Raises:
            ArchonError: unknown network or data set, or a description that fails validation.
        """
        spec = network_for(network, dataset)
        return spec.with_balanced_pruning() if self.balanced else spec

    def data(self, spec: NetworkSpec, dataset: str) -> tuple[ImageSet, ImageSet]:
        """Training and test images in the network's size.

        Raises:
            ArchonError: missing or damaged data, or more images than there are.
        """
        load = find_dataset(dataset).load
        return self.fitted(spec, load("train", None), load("test", None))

    def fitted(self, spec: NetworkSpec, training: ImageSet, test: ImageSet) -> tuple[ImageSet, ImageSet]:
        """Those of a data set's images that are wanted, in the network's size.

        Raises:
            ArchonError: more images than there are, or of another number of colours.
        """
        size = (spec.height, spec.width, spec.channels)
        wanted = ((training, self.images), (test, self.test_images))
        chosen = [reduced(fitted(data, *size), count, self.resolution) for data, count in wanted]
        return chosen[0], chosen[1]


@Parameter(name="*")
@dataclass(frozen=True)
class Options(Common):
    """What a run is chosen by."""

    dataset: Annotated[str, Parameter(help="cifar10, cifar100, fashion-mnist or svhn")] = "cifar10"
    stage: StageName = "vanilla"
    seed: Annotated[
        int, Parameter(converter=whole, help="of everything random; of others than 0 the run has a folder of its own")
    ] = 0
    resume: Annotated[bool, Parameter(help="continue an interrupted run; --epochs may prolong it")] = False
    anew: Annotated[bool, Parameter(help="delete the run that is there, and begin again", negative="")] = False
    widen: Annotated[Path | None, Parameter(help="start from this run folder of a narrower network")] = None
    start: Annotated[Path | None, Parameter(help="start from this run folder of the same network, not the stage before")] = None

    def run(self, network: str) -> Run:
        """The run of a network.

        Raises:
            ArchonError: something that no run can have, or an option that changes nothing.
        """
        idle = self.idle(network)
        if idle:
            raise ArchonError(next(iter(idle.values())))
        spec, recipe = self._recipe(network)
        recipe.limits(spec.predicting_blocks)
        return Run(
            spec=spec,
            stage=self.stage,
            recipe=recipe,
            folder=stages_folder(self.build, spec.name, self.seed) / self.stage,
            seed=self.seed,
            resume=self.resume,
            anew=self.anew,
            prolong=self.epochs is not None,
            max_minutes=self.max_minutes,
            evaluate_every=self.evaluate_every,
            predictor=recipe.predictor,
            kernel=self.kernel,
            widen=self.widen,
            start=self.start,
            dataset=self.dataset,
            devices=self.devices,
        )

    def idle(self, network: str) -> dict[str, str]:
        """Options that are asked for and change nothing in the run of a network; why, by name.

        Raises:
            ArchonError: something that no run can have.
        """
        spec, recipe = self._recipe(network)
        return without_effect(self._asked(), spec, self.stage, recipe)

    def effective(self, network: str) -> "Options":
        """The same without the options that change nothing in the run of a network."""
        options = self
        while idle := options.idle(network):  # without these, others may change nothing, either
            usual: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(self) if field.name in idle}
            options = dataclasses.replace(options, **usual)
        return options

    def _recipe(self, network: str) -> tuple[NetworkSpec, Recipe]:
        for name, least in (("seed", 0), ("evaluate_every", 1)):
            if getattr(self, name) < least:
                raise ArchonError(f"{name.replace('_', '-')}: expected {least} or more, got {getattr(self, name)}")
        if self.max_minutes is not None and not 0 <= self.max_minutes < math.inf:
            raise ArchonError(f"max-minutes: expected 0 or more, got {self.max_minutes}")
        spec = self.spec(network, self.dataset)
        check_stage(spec, self.stage)
        recipe = with_epochs(find_recipe(spec, self.stage), self.epochs)
        recipe = with_survivors(recipe, self.survivors_first, self.survivors_second, self.survivor_ramp)
        source = self.start or self.widen
        if source is not None and holds_masks(source):
            recipe = dataclasses.replace(recipe, ramp=0.0)  # a network that was pruned before stays so
        chosen = {name: getattr(self, name) for name in CHOSEN if getattr(self, name) is not None}
        return spec, dataclasses.replace(recipe, **chosen)

    def _asked(self) -> dict[str, Any]:
        """Options that are not as they are by default, by name."""
        values = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {field.name: value for field, value in values if value != field.default}

    def arguments(self, network: str) -> list[str]:
        """What asks for this run behind `archon train`."""
        return [network, *option_words(self._asked())]

    def command(self, network: str) -> str:
        """The same as a line for a shell."""
        return shlex.join(["archon", "train", *self.arguments(network)])


@Parameter(name="*")
@dataclass(frozen=True)
class Cluster:
    """Where jobs run, and what they ask Slurm for."""

    cluster: Annotated[Literal["local", "slurm"] | None, Parameter(help="submit jobs: processes here, or Slurm's")] = None
    time_limit: Annotated[
        int | None, Parameter(converter=whole, help="minutes, then a job is queued again and resumes; Slurm: 240")
    ] = None
    gpus: Annotated[int | None, Parameter(converter=whole, help="of a job; Slurm: 1, 0 for none; else all there are")] = None
    cpus: Annotated[int | None, Parameter(converter=whole, help="of a job on Slurm, 4 by default")] = None
    memory: Annotated[int | None, Parameter(converter=whole, help="of a job on Slurm in GB, 16 by default")] = None
    partition: Annotated[str | None, Parameter(help="of Slurm; else its default")] = None

    def check(self) -> None:
        """Raise ArchonError where an option has no meaning, or no possible value."""
        for name, least in {"time_limit": 1, "gpus": 0, "cpus": 1, "memory": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ArchonError(f"{name.replace('_', '-')}: expected {least} or more, got {value}")
        of_slurm = () if self.cluster == "slurm" else ("cpus", "memory", "partition")
        of_jobs = ("time_limit", "gpus") if self.cluster is None else ()
        for name in (*of_jobs, *of_slurm):
            if getattr(self, name) is not None:
                wanted = "slurm" if name in of_slurm else "local or slurm"
                flag = name.replace("_", "-")
                raise ArchonError(f"{flag}: expected --cluster {wanted} with it, got {self.cluster or 'none'}")
