"""What evaluations in integers leave for the table of results: BUILD/NETWORK/integers.json, a record of one bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.contract.errors import ArchonError
from sw.arrays import write_whole
from sw.golden.evaluation import BlockEvaluation, Evaluation
from sw.golden.network import Mode

RECORD = "integers.json"


def record_path(build: Path, network: str, bundle: Path) -> Path:
    """Where evaluations of a bundle are kept: of NETWORK.archon RECORD, of STEM.archon another file."""
    path = build / network / RECORD
    return path if bundle.stem == network else path.with_stem(f"{path.stem}-{bundle.stem}")


class ModeRecord(BaseModel):
    """One evaluation, on the first images of the test set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Annotated[int, Field(gt=0)]
    correct: Annotated[int, Field(ge=0)]
    blocks: tuple[BlockEvaluation, ...]
    """What is fused of the network, in order."""

    @model_validator(mode="after")
    def _validate(self) -> Self:
        if self.correct > self.images:
            raise ValueError(f"expected at most {self.images} correct images, got {self.correct}")
        return self


class IntegerRecord(BaseModel):
    """The evaluations of one bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    dataset: str
    """Whose test images these were."""
    bundle_sha256: str
    evaluations: dict[Mode, ModeRecord]

    def extended(self, evaluation: Evaluation) -> IntegerRecord:
        """With one more evaluation of the same bundle; of two in the same mode that on more images, else the new one."""
        known = self.evaluations.get(evaluation.mode)
        if known is not None and known.images > evaluation.images:
            return self
        made = ModeRecord(images=evaluation.images, correct=evaluation.correct, blocks=evaluation.blocks)
        return self.model_copy(update={"evaluations": {**self.evaluations, evaluation.mode: made}})

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_whole(path, (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode())


def read_record(path: Path) -> IntegerRecord:
    """The record in a file.

    Raises:
        ArchonError: the file is missing or holds something else.
    """
    try:
        return IntegerRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected a record of evaluations in integers, as archon evaluate leaves it") from error


def record_for(path: Path, network: str, dataset: str, bundle_sha256: str) -> IntegerRecord:
    """The record in a file if it is of the same bundle and data set, else an empty one.

    Raises:
        ArchonError: the file holds something else.
    """
    empty = IntegerRecord(network=network, dataset=dataset, bundle_sha256=bundle_sha256, evaluations={})
    if not path.exists():
        return empty
    found = read_record(path)
    return found if found.model_copy(update={"evaluations": {}}) == empty else empty
