"""Network descriptions: TOML files and their validated form."""

from sw.spec.blocks import AnyBlockSpec, BlockSpec, PointwisePairSpec, UnfusedSpec, block_weights
from sw.spec.layers import PIXELS, Kind, LayerShape, TensorShape
from sw.spec.network_spec import (
    BlockShape,
    DepthwiseSpec,
    NetworkSpec,
    PointwiseSpec,
    SparsitySpec,
    StemSpec,
    known_specs,
    load_spec,
    parse_spec,
)

__all__ = [
    "PIXELS",
    "AnyBlockSpec",
    "BlockShape",
    "BlockSpec",
    "DepthwiseSpec",
    "Kind",
    "LayerShape",
    "NetworkSpec",
    "PointwisePairSpec",
    "PointwiseSpec",
    "SparsitySpec",
    "StemSpec",
    "TensorShape",
    "UnfusedSpec",
    "block_weights",
    "known_specs",
    "load_spec",
    "parse_spec",
]
