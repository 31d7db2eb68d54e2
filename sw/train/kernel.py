"""Choice of what computes the blocks in training: Keras' own operations, or the native kernel for CPUs."""

import keras

from hw.contract.errors import ArchonError
from sw.networks.fused import FusedBlock
from sw.networks.native import library
from sw.networks.network import Network
from sw.train.devices import gpu_count

KERNELS = ("auto", "keras", "native")


def choose_kernel(kernel: str) -> str:
    """Resolve "auto": native where TensorFlow has no GPU and there is a compiler, else keras.

    Raises:
        ArchonError: unknown kernel, or the native one was asked for and cannot be had.
    """
    if kernel not in KERNELS:
        raise ArchonError(f"unknown kernel {kernel!r}: expected one of {', '.join(KERNELS)}")
    backend = keras.backend.backend()
    if kernel == "native":
        if backend != "tensorflow":
            raise ArchonError(f"the native kernel needs Keras' tensorflow backend, got {backend}")
        library.load()
    if kernel != "auto":
        return kernel
    return "native" if backend == "tensorflow" and library.available() and not gpu_count() else "keras"


def attach_kernel(model: Network) -> None:
    """Have the native kernel compute fused blocks, but for predictors on a frozen value path."""
    from sw.networks.native.block import apply  # noqa: PLC0415 (needs TensorFlow)

    for block in model.blocks:
        if not isinstance(block, FusedBlock):
            continue
        if block.predictor is None or block.output_scale is not None:
            block.kernel = apply
