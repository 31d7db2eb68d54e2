"""Published figures, from published.toml."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.contract.errors import ArchonError
from sw.train.recipe import StageName

PUBLISHED = Path(__file__).parent / "published.toml"

Percent = Annotated[float, Field(ge=0, le=100)]
Millions = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sources(_Section):
    """Where the figures of each kind come from."""

    accuracy: str
    size: str
    claims: str


class PublishedNetwork(_Section):
    """Of one network on one data set; a stage without a figure is missing."""

    network: str
    dataset: str
    accuracy: dict[StageName, Percent] = {}
    listed_without_log: tuple[StageName, ...] = ()
    """Stages that the authors list without a figure in a log."""
    parameters: Millions | None = None
    multiplications: dict[StageName, Millions] = {}
    note: str | None = None


class Claim(_Section):
    """A sentence with a figure that belongs to no network and stage."""

    text: str


class Published(_Section):
    """All of the file."""

    sources: Sources
    networks: tuple[PublishedNetwork, ...]
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _validate(self) -> Self:
        for (network, dataset), count in Counter((item.network, item.dataset) for item in self.networks).items():
            if count > 1:
                raise ValueError(f"expected every network and data set once, got {network}, {dataset} {count} times")
        return self

    def find(self, network: str, dataset: str) -> PublishedNetwork:
        """What was published of a network on a data set: nothing, if it does not occur."""
        found = (item for item in self.networks if (item.network, item.dataset) == (network, dataset))
        return next(found, PublishedNetwork(network=network, dataset=dataset))


def load_published(path: Path = PUBLISHED) -> Published:
    """Read the published figures.

    Raises:
        ArchonError: the file cannot be read or holds something else.
    """
    try:
        return Published.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ArchonError(f"{path}: expected published figures, got something else: {error}") from error
