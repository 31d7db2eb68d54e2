"""A trained network at other precisions, in integers: rounded at once, or after some steps of training with them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.bundle.network import IntegerNetwork
from sw.datasets import ImageSet
from sw.networks.integer_model import IntegerModel
from sw.quantize.network import quantize_network
from sw.quantize.precision import Precision
from sw.run_folder import CHECKPOINT, WEIGHTS, read_config, read_settings
from sw.spec import NetworkSpec
from sw.train import checkpoint
from sw.train.kernel import attach_kernel, choose_kernel
from sw.train.quantization import INTEGER_IMAGES, QuantizationStage, integer_inference
from sw.train.recipe import LAST_STAGE
from sw.train.run import compile_model, recognised, train_epoch
from sw.train.settings import Run, noted_recipe
from sw.train.stages import make_stage

RATE = 2e-3
"""Learning rate at the first step of tuning, falling to the recipe's last: a tenth of what small networks are trained with."""


@dataclass(frozen=True)
class Trained:
    """A network whose stage quantized has ended.

    Args:
        spec: the network.
        folder: run folder of the stage.
        training: images that scales are found on (the first ones), and that tuning takes.
        seed: of the images that tuning takes, and of their order.
    """

    spec: NetworkSpec
    folder: Path
    training: ImageSet
    seed: int = 0

    @cached_property
    def models(self) -> dict[int, IntegerModel]:
        """Integer models by the bits of their predictors' inputs, once they are needed."""
        return {}

    def rounded(self, precision: Precision) -> IntegerNetwork:
        """The integers of the trained weights.

        Raises:
            ArchonError: weights that are missing, or that no scale brings within the widths.
        """
        images = self.training.images[:INTEGER_IMAGES]
        return quantize_network(load_arrays(self.folder / WEIGHTS), self.spec, images, precision).network

    def tuned(self, precision: Precision, steps: int) -> IntegerNetwork:
        """The integers after steps of stage quantized with this precision, from its last checkpoint, trained as the run was.

        Args:
            precision: of weights and predictors' inputs, in training and afterwards.
            steps: how many; a batch of different images each.

        Raises:
            ArchonError: a checkpoint that is missing or of another network, settings that are, or too few images.
        """
        spec, training, path = self.spec, self.training, self.folder / CHECKPOINT
        noted = read_settings(self.folder)
        trained = noted_recipe(self.folder, read_config(self.folder) or {})
        recipe = replace(trained, epochs=1, rate=RATE, warmup=0.0, survivor_ramp=0.0)
        if steps * recipe.batch > len(training.labels):
            raise ArchonError(f"steps: expected at most {len(training.labels) // recipe.batch}, an epoch, got {steps}")
        keras.utils.set_random_seed(self.seed)
        stage = make_stage(LAST_STAGE, spec, recipe, training, noted.predictor, precision)
        if not isinstance(stage, QuantizationStage):
            raise TypeError(type(stage))
        # The native kernel's levels are never coarser than the hardware's.
        if precision.finer >= 0 and choose_kernel("auto") == "native":
            attach_kernel(stage.model)
        compile_model(stage.model, recipe)
        checkpoint.assign(stage.variables(), load_arrays(path), path)
        chosen = np.random.default_rng(self.seed).permutation(len(training.labels))[: steps * recipe.batch]
        images = ImageSet(training.images[chosen], training.labels[chosen])
        train_epoch(Run(spec, LAST_STAGE, recipe, self.folder, self.seed, dataset=noted.dataset), stage, images, 0)
        return stage.quantized().network

    def recognised(self, network: IntegerNetwork, precision: Precision, test: ImageSet) -> Iterator[NDArray[np.bool_]]:
        """For some test images after the other, whether the integer network recognises them."""
        bits = precision.predictor_input
        if bits not in self.models:
            self.models[bits] = IntegerModel(network, bits)
        self.models[bits].load(network)
        return recognised(integer_inference(self.models[bits], network), test)
