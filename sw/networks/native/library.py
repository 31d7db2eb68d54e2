"""Builds and calls the kernel (block.cpp and its headers): numpy arrays in, numpy arrays out."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.contract.errors import ArchonError
from hw.contract.numerics import LEVEL_MAX
from sw.networks.layers import EPSILON
from sw.networks.limits import GATE_SLOPE
from sw.spec import BlockSpec

SOURCES = ("block.cpp", "call.h", "planes.h")
COMPILE = (
    "-std=c++20",
    "-O3",
    "-march=native",
    "-ffast-math",
    "-funroll-loops",
    "-fvariable-expansion-in-unroller",
    "-fPIC",
    "-c",
)
LINK = ("-shared", "-pthread")
"""Linked without -ffast-math, which would change how the whole process treats tiny numbers."""
CACHE = Path(os.environ.get("ARCHON_BUILD", "build")) / "native"

Array = NDArray[np.float32]
FloatPointer = ctypes.POINTER(ctypes.c_float)

WITHOUT_GRADIENT = (
    "expand_mask",
    "depthwise_mask",
    "project_mask",
    "predictor_expand_mask",
    "predictor_depthwise_mask",
    "level",
    "costs",
)
VALUE_STATISTICS = ("mean1", "variance1", "mean2", "variance2")
PREDICTOR_STATISTICS = tuple(f"predictor_{name}" for name in VALUE_STATISTICS)


class _Norm(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int64),
        *((name, FloatPointer) for name in ("gamma", "beta", "mean", "variance", "d_gamma", "d_beta")),
    )


class _Path(ctypes.Structure):
    _fields_ = (
        *((name, FloatPointer) for name in ("expand", "expand_mask", "depthwise", "depthwise_mask", "d_expand", "d_depthwise")),
        ("first", _Norm),
        ("second", _Norm),
    )


class _BlockCall(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                "images",
                "height",
                "width",
                "in_channels",
                "expanded",
                "out_channels",
                "kernel",
                "stride",
                "groups",
                "threads",
                "gated",
            )
        ),
        *((name, ctypes.c_float) for name in ("epsilon", "gate_slope", "level_max")),
        ("d_shares", ctypes.c_float * 2),
        *((name, FloatPointer) for name in ("inputs", "predictor_inputs", "level", "costs", "project", "project_mask")),
        ("value", _Path),
        ("predictor", _Path),
        ("outputs", FloatPointer),
        *((name, FloatPointer) for name in ("shares", "d_outputs", "d_inputs", "d_predictor_inputs", "d_project")),
    )


def available() -> bool:
    """Whether there is a compiler to build the kernel with."""
    return shutil.which("g++") is not None


@cache
def load() -> ctypes.CDLL:
    """The kernel, compiled for this processor on first use and kept under build/native.

    Raises:
        ArchonError: no g++, or it failed.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise ArchonError("the native kernel needs g++, which was not found: install it, or train with --kernel keras")
    folder = Path(__file__).parent
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    processor = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0] if Path("/proc/cpuinfo").exists() else b""
    flags = [line for line in processor.splitlines() if line.startswith((b"flags", b"Features", b"model name"))]
    content = b"".join([*((folder / name).read_bytes() for name in SOURCES), repr((COMPILE, LINK)).encode(), version, *flags])
    target = CACHE.absolute() / f"block-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            module, library = Path(scratch) / "block.o", Path(scratch) / "block.so"
            for command in (
                [compiler, *COMPILE, str(folder / "block.cpp"), "-o", str(module)],
                [compiler, *LINK, str(module), "-o", str(library)],
            ):
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                if result.returncode != 0:
                    raise ArchonError(f"the native kernel does not compile with {compiler}: {result.stderr.strip()[:400]}")
            library.replace(target)
    return ctypes.CDLL(str(target))


def forward(spec: BlockSpec, arrays: Mapping[str, Array], batch: Mapping[str, bool]) -> dict[str, Array]:
    """Run a block up to the sums of its project layer.

    Args:
        spec: shape of the block.
        arrays: inputs [N, H, W, C], weights as the layers have them, masks and norms, costs [E] by which survivors count; if
            there are gates, the predictor's too.
        batch: for norm1, norm2, predictor_norm1 and predictor_norm2, whether they normalise with the batch's statistics;
            otherwise their gamma and beta are the scale and offset to apply.

    Returns:
        outputs [N, H', W', K]; the batch's statistics [E] (zeros where they were not asked for); shares of survivors [2].
    """
    shapes = result_shapes(spec, arrays["inputs"].shape, "level" in arrays)
    results = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    call = _describe(spec, arrays, batch, results)
    load().archon_block_forward(ctypes.byref(call))
    return results


def backward(
    spec: BlockSpec,
    arrays: Mapping[str, Array],
    batch: Mapping[str, bool],
    results: Mapping[str, Array],
    gradients: Mapping[str, Array],
) -> dict[str, Array]:
    """Gradients of everything in `arrays` but masks, levels and costs, from those of outputs and shares."""
    found = {name: np.zeros_like(array) for name, array in arrays.items() if name not in WITHOUT_GRADIENT}
    call = _describe(spec, arrays, batch, results, found)
    call.d_outputs = _pointer(gradients["outputs"])
    call.d_shares[:] = [float(value) for value in gradients["shares"]]
    load().archon_block_backward(ctypes.byref(call))
    return found


def result_shapes(spec: BlockSpec, inputs: tuple[int, ...], gated: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of what forward returns, for inputs of a shape [N, H, W, C]; N may be unknown."""
    images, height, width, _ = inputs
    shapes: dict[str, tuple[int, ...]] = {
        "outputs": (images, -(-height // spec.stride), -(-width // spec.stride), spec.out_channels)
    }
    shapes |= dict.fromkeys((*VALUE_STATISTICS, *(PREDICTOR_STATISTICS if gated else ())), (spec.expanded_channels,))
    return shapes | {"shares": (2,)}


def _describe(
    spec: BlockSpec,
    arrays: Mapping[str, Array],
    batch: Mapping[str, bool],
    results: Mapping[str, Array],
    gradients: Mapping[str, Array] | None = None,
) -> _BlockCall:
    gradients = gradients or {}
    images, height, width, _ = arrays["inputs"].shape
    gated = "level" in arrays
    threads = len(os.sched_getaffinity(0))
    call = _BlockCall(
        images, height, width, spec.in_channels, spec.expanded_channels, spec.out_channels, spec.kernel, spec.stride,
        spec.groups, threads, gated, EPSILON, GATE_SLOPE, LEVEL_MAX,
    )  # fmt: skip
    call.value = _path("", arrays, batch, results, gradients)
    if gated:
        call.predictor = _path("predictor_", arrays, batch, results, gradients)
    call.shares = _pointer(results["shares"])
    for name in ("inputs", "predictor_inputs", "level", "costs", "project", "project_mask"):
        setattr(call, name, _pointer(arrays.get(name)))
    for name in ("inputs", "predictor_inputs", "project"):
        setattr(call, f"d_{name}", _pointer(gradients.get(name)))
    call.outputs = _pointer(results["outputs"])
    return call


def _path(
    prefix: str,
    arrays: Mapping[str, Array],
    batch: Mapping[str, bool],
    results: Mapping[str, Array],
    gradients: Mapping[str, Array],
) -> _Path:
    norms = [
        _Norm(
            batch[f"{prefix}norm{index}"],
            *(_pointer(arrays[f"{prefix}{name}{index}"]) for name in ("gamma", "beta")),
            *(_pointer(results[f"{prefix}{name}{index}"]) for name in ("mean", "variance")),
            *(_pointer(gradients.get(f"{prefix}{name}{index}")) for name in ("gamma", "beta")),
        )
        for index in (1, 2)
    ]
    weights = [_pointer(arrays[f"{prefix}{name}"]) for name in ("expand", "expand_mask", "depthwise", "depthwise_mask")]
    found = [_pointer(gradients.get(f"{prefix}{name}")) for name in ("expand", "depthwise")]
    return _Path(*weights, *found, *norms)


def _pointer(array: Array | None) -> "ctypes._Pointer[ctypes.c_float]":
    if array is None:
        return FloatPointer()
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(f"expected a contiguous float32 array, got {array.dtype}")
    return array.ctypes.data_as(FloatPointer)
