"""Bundles: one file that holds a whole integer network."""

from sw.bundle.bounds import check_bounds, check_network_bounds
from sw.bundle.bundle_file import find_bundle, known_bundles, load_bundle, save_bundle

__all__ = [
    "check_bounds",
    "check_network_bounds",
    "find_bundle",
    "known_bundles",
    "load_bundle",
    "save_bundle",
]
