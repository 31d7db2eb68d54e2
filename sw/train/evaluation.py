"""Accuracy of a stage from its run folder."""

from pathlib import Path

from hw.contract.errors import ArchonError
from sw.arrays import load_arrays
from sw.datasets import ImageSet
from sw.networks.integer_model import IntegerModel
from sw.quantize.network import HAS_SCALES, quantize_network
from sw.run_folder import CHECKPOINT, WEIGHTS
from sw.spec import NetworkSpec
from sw.train import checkpoint
from sw.train.quantization import integer_inference
from sw.train.recipe import find_recipe
from sw.train.run import evaluate
from sw.train.stages import make_stage
from sw.train.starts import check_ended, check_run


def stage_accuracy(spec: NetworkSpec, stage: str, folder: Path, test: ImageSet) -> float:
    """Fraction of test images that are recognised; of stage quantized in integers, as training says it.

    Args:
        spec: the network.
        stage: of training.
        folder: its run folder.
        test: images in the network's size.

    Raises:
        ArchonError: no checkpoint, or one of another network or stage; a stage quantized that has not ended.
    """
    path = folder / (WEIGHTS if stage == "quantized" else CHECKPOINT)
    if not path.exists():
        raise ArchonError(f"{path} is missing: expected what stage {stage} of {spec.name} leaves")
    check_run(spec, stage, folder)
    arrays = load_arrays(path)
    if stage == "quantized":
        check_ended(folder)
        if HAS_SCALES not in arrays:
            raise ArchonError(f"{path} comes without the scales of its integers: export it and evaluate the bundle")
        network = quantize_network(arrays, spec, test.images[:1]).network
        return evaluate(integer_inference(IntegerModel(network), network), test)
    made = make_stage(stage, spec, find_recipe(spec, stage), test, "forward")
    checkpoint.assign(made.variables(), arrays, path)
    return evaluate(made.inference(), test)
