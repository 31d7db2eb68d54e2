"""Reading and writing bundles (docs/bundle.md): a zip of a manifest and one array file each."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.arrays import write_whole
from sw.bundle.bounds import check_network_bounds
from sw.bundle.network import PART_OF_KIND, IntegerNetwork, Part, Requantization, Scaling, assembled_block
from sw.spec import NetworkSpec, parse_spec

FORMAT = "archon-bundle"
VERSION = 3
"""What is written; version 2 knows other blocks than fused ones, 3 squeeze-and-excite and networks without last pointwise."""

READABLE_VERSIONS = (1, 2, 3)
SUFFIX = ".archon"
MANIFEST = "manifest.json"
TRAINED_FOLDER = Path(__file__).parent / "trained"
"""Bundles that come with the project, NAME.archon."""

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644 << 16

Array = NDArray[Any]


class _ArrayEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: str
    shape: list[int]
    sha256: str


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["archon-bundle"]
    version: Literal[1, 2, 3]
    spec: dict[str, Any]
    provenance: dict[str, str]
    arrays: dict[str, _ArrayEntry]


def known_bundles() -> tuple[str, ...]:
    """Names of the networks whose trained bundles come with the project."""
    return tuple(sorted(path.stem for path in TRAINED_FOLDER.glob(f"*{SUFFIX}")))


def find_bundle(name_or_path: str | Path) -> Path:
    """The file of a bundle.

    Args:
        name_or_path: a name out of `known_bundles`, or the path of a bundle (with a folder or the suffix .archon).

    Raises:
        ArchonError: unknown name, or no file at that path.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if text in known_bundles():
        return TRAINED_FOLDER / f"{text}{SUFFIX}"
    if path.is_file():
        return path
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise ArchonError(f"{text}: expected the file of a bundle, got no such file")
    known = ", ".join(known_bundles()) or "(none is there)"
    raise ArchonError(f"unknown network {text!r}: expected one of {known}, or the path of a bundle")


def save_bundle(network: IntegerNetwork, path: Path | str) -> None:
    """Check the network and write it; equal networks give equal bytes.

    Raises:
        ArchonError: an array does not fit the specification.
    """
    network.check()
    contents, entries = {}, {}
    for name, array in _arrays(network):
        content = _npy(array)
        contents[f"{name}.npy"] = content
        digest = hashlib.sha256(content).hexdigest()
        entries[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "spec": network.spec.model_dump(mode="json"),
        "provenance": network.provenance,
        "arrays": entries,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **contents}.items():
            info = zipfile.ZipInfo(name, _TIMESTAMP)
            info.external_attr, info.create_system = _FILE_MODE, 3
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    write_whole(Path(path), buffer.getvalue())


def load_bundle(path: Path | str, widths: Widths | None = None) -> IntegerNetwork:
    """Read a bundle and check all of it: checksums, shapes, ranges, and that no sum can overflow.

    Args:
        path: of the file.
        widths: of the hardware that it is meant for; the contract's when left out.

    Raises:
        ArchonError: one sentence on what was expected and what came.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive)
            spec = _read_spec(manifest)
            arrays = {name: _read_array(archive, name, manifest.arrays[name]) for name in _names(archive, manifest, spec)}
        network = _network(spec, arrays, manifest.provenance)
        network.check()
        check_network_bounds(network, widths or Widths())
    except FileNotFoundError as error:
        raise ArchonError(f"{path}: expected a bundle, got no such file") from error
    except ArchonError as error:
        raise ArchonError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ArchonError(f"{path}: expected a whole bundle (a zip file), got a damaged or truncated one: {error}") from error
    return network


def _read_manifest(archive: zipfile.ZipFile) -> _Manifest:
    if MANIFEST not in archive.namelist():
        raise ArchonError(f"expected a bundle with {MANIFEST}, got a zip file without it")
    try:
        values = json.loads(archive.read(MANIFEST))
    except ValueError as error:
        raise ArchonError(f"expected {MANIFEST} in JSON, got something else: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        got = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise ArchonError(f"expected format {FORMAT!r} in {MANIFEST}, got {got!r}")
    if values.get("version") not in READABLE_VERSIONS:
        known = " or ".join(map(str, READABLE_VERSIONS))
        raise ArchonError(f"expected bundle version {known}, got {values.get('version')!r}")
    try:
        return _Manifest.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ArchonError(f"expected a valid {MANIFEST}, got a fault at {place}: {fault['msg'].lower()}") from error


def _read_spec(manifest: _Manifest) -> NetworkSpec:
    return parse_spec(manifest.spec)


def _names(archive: zipfile.ZipFile, manifest: _Manifest, spec: NetworkSpec) -> list[str]:
    """The arrays that the specification asks for; refuses more, fewer and repeated ones."""
    expected = _array_names(spec)
    stored = archive.namelist()
    if len(set(stored)) != len(stored):
        raise ArchonError("expected every file in the bundle once, got one twice")
    for where, found in (
        (f"the list in {MANIFEST}", set(manifest.arrays)),
        ("the bundle", {name.removesuffix(".npy") for name in stored if name != MANIFEST}),
    ):
        missing, extra = sorted(set(expected) - found), sorted(found - set(expected))
        if missing:
            raise ArchonError(f"expected an array {missing[0]} in {where}, got none of that name")
        if extra:
            raise ArchonError(f"expected no array {extra[0]} in {where}, got one")
    return expected


def _read_array(archive: zipfile.ZipFile, name: str, entry: _ArrayEntry) -> Array:
    try:
        content = archive.read(f"{name}.npy")
    except zipfile.BadZipFile as error:
        raise ArchonError(f"{name}: expected a whole array, got a damaged one: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        raise ArchonError(f"{name}: expected the sha256 {entry.sha256}, got {digest}")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArchonError(f"{name}: expected an array in npy format, got something else: {error}") from error
    if array.dtype.name != entry.dtype or list(array.shape) != entry.shape:
        expected, got = (entry.dtype, tuple(entry.shape)), (array.dtype.name, array.shape)
        raise ArchonError(f"{name}: expected {expected[0]} {expected[1]} as in {MANIFEST}, got {got[0]} {got[1]}")
    return array


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    # Little-endian and row-major on every machine, so that equal networks give equal bytes.
    np.save(buffer, np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")), allow_pickle=False)
    return buffer.getvalue()


_REQUANTIZATION = tuple(item.name for item in dataclasses.fields(Requantization))


def _array_names(spec: NetworkSpec) -> list[str]:
    names = ["image_levels"]
    for layer in spec.layers:
        if layer.kind in PART_OF_KIND:
            names += [f"{_prefix(layer.name)}.{name}" for name in _names_of(PART_OF_KIND[layer.kind])]
    return [*names, "dense.weight", "dense.bias"]


def _arrays(network: IntegerNetwork) -> Iterator[tuple[str, Array]]:
    """Every array with its name, in the order of `_array_names`."""
    yield "image_levels", network.image_levels
    parts = network.parts()
    for layer in network.spec.layers:
        if layer.kind in PART_OF_KIND:
            part = parts[layer.name]
            for name in _names_of(type(part)):
                owner = part if hasattr(part, name) else getattr(part, "requantization", None)
                yield f"{_prefix(layer.name)}.{name}", getattr(owner, name)
    yield "dense.weight", network.dense_weight
    yield "dense.bias", network.dense_bias


def _network(spec: NetworkSpec, arrays: dict[str, Array], provenance: dict[str, str]) -> IntegerNetwork:
    parts: dict[str, Any] = {}
    for layer in spec.layers:
        if layer.kind in PART_OF_KIND:
            kind = PART_OF_KIND[layer.kind]
            parts[layer.name] = _part(kind, {name: arrays[f"{_prefix(layer.name)}.{name}"] for name in _names_of(kind)})
    return IntegerNetwork(
        spec=spec,
        image_levels=arrays["image_levels"],
        stem=parts["stem"],
        first_pointwise=parts.get("first_pointwise"),
        first_depthwise=parts.get("first_depthwise"),
        blocks=tuple(assembled_block(f"block {index}", block, parts) for index, block in enumerate(spec.blocks, start=1)),
        last_pointwise=parts.get("last_pointwise"),
        pool=parts["pool"],
        dense_weight=arrays["dense.weight"],
        dense_bias=arrays["dense.bias"],
        provenance=provenance,
    )


def _prefix(layer: str) -> str:
    """Of the names of a layer's arrays: block_3, block_3.expand."""
    return layer.replace("block ", "block_").replace(" ", ".")


def _names_of(kind: type[Part]) -> tuple[str, ...]:
    """Names of the arrays of a layer's integers; those of the requantisation come last."""
    fields = tuple(item.name for item in dataclasses.fields(kind))
    own = tuple(name for name in fields if name != "requantization")
    return own if own == fields else (*own, *_REQUANTIZATION)


def _part(kind: type[Part], arrays: dict[str, Array]) -> Part:
    made, members = kind, dict[str, Any](arrays)
    if kind not in {Requantization, Scaling}:
        members["requantization"] = Requantization(**{name: members.pop(name) for name in _REQUANTIZATION})
    part: Part = made(**members)
    return part
