"""Several devices that share every batch (data parallelism). Of Keras' backends, JAX alone can."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError


def gpu_count() -> int:
    """GPUs that the backend has."""
    if keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415 (only with this backend)

        return int(torch.cuda.device_count())
    try:
        return len(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # what JAX says where there is none
        return 0


def choose_devices(wanted: int | None, batch: int) -> int:
    """How many devices share a batch.

    Args:
        wanted: of the kind that the backend takes first; None: all GPUs, as far as they can share a batch evenly.
        batch: images a step.

    Raises:
        ArchonError: several are wanted of a backend that cannot, there are fewer, or they cannot share a batch evenly.
    """
    backend = keras.backend.backend()
    if wanted is None:
        gpus = gpu_count() if backend == "jax" else 1
        return max((count for count in range(1, gpus + 1) if batch % count == 0), default=1)
    if wanted == 1:
        return 1
    if backend != "jax":
        raise ArchonError(
            f"devices: only Keras' jax backend (KERAS_BACKEND=jax) trains on several, got {wanted} with {backend}"
        )
    found = keras.distribution.list_devices()
    if not 0 < wanted <= len(found):
        raise ArchonError(f"devices: expected 1 to {len(found)} ({', '.join(found)}), got {wanted}")
    if batch % wanted:
        raise ArchonError(f"devices: expected a number that divides the batch of {batch} images, got {wanted}")
    return wanted


def left_out(wanted: int | None, batch: int) -> str | None:
    """What to say where there are GPUs that nobody asked to leave out; None where there are none."""
    gpus, used = gpu_count(), choose_devices(wanted, batch)
    if wanted is not None or gpus <= used:
        return None
    if keras.backend.backend() == "jax":
        return f"{used} of {gpus} GPUs are used: more cannot share a batch of {batch} images evenly"
    return f"1 of {gpus} GPUs is used: Keras' {keras.backend.backend()} backend cannot share batches, KERAS_BACKEND=jax can"


@contextmanager
def sharing(count: int) -> Iterator[None]:
    """Within, models are made on `count` devices, and each takes its part of every batch."""
    if count == 1:
        yield
        return
    devices = keras.distribution.list_devices()[:count]
    with keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope():
        yield


def predict(model: Any, inputs: NDArray[Any]) -> NDArray[Any]:
    """A model's outputs for inputs [N, ...] of any number, also where several devices share them."""
    distribution = keras.distribution.distribution()
    missing = 0 if distribution is None else -len(inputs) % distribution.num_model_replicas
    filled = np.concatenate([inputs, np.repeat(inputs[:1], missing, axis=0)]) if missing else inputs
    return np.asarray(model.predict_on_batch(filled))[: len(inputs)]
