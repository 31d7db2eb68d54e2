"""Network descriptions: TOML files and their validated form."""

from sw.spec.network_spec import (
    BlockShape,
    BlockSpec,
    DepthwiseSpec,
    NetworkSpec,
    PointwiseSpec,
    SparsitySpec,
    StemSpec,
    block_weights,
    known_specs,
    load_spec,
    parse_spec,
)

__all__ = [
    "BlockShape",
    "BlockSpec",
    "DepthwiseSpec",
    "NetworkSpec",
    "PointwiseSpec",
    "SparsitySpec",
    "StemSpec",
    "block_weights",
    "known_specs",
    "load_spec",
    "parse_spec",
]
