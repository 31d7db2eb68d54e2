"""Points that the tests are not expected to reach: exclusions.toml, one reason for each entry."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hw.contract.errors import ArchonError

FILE = Path(__file__).with_name("exclusions.toml")


class Exclusion(BaseModel):
    """Holes that are explained; units, signals and texts are patterns with *, ? and [] as in file names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Annotated[str, Field(description="unit, a file of hw/rtl without its ending")]
    signal: Annotated[str, Field(description="name of a signal, for toggles")] = ""
    text: Annotated[str, Field(description="first source line of a branch, for lines")] = ""
    bits: Annotated[tuple[int, int], Field(description="lowest and highest bit")] = (0, 1 << 16)
    reason: Annotated[str, Field(min_length=10)]

    def covers_signal(self, unit: str, signal: str, bit: int) -> bool:
        """Whether this bit of a signal is excluded."""
        low, high = self.bits
        return bool(self.signal) and self._matches(unit, signal, self.signal) and low <= bit <= high

    def covers_branch(self, unit: str, text: str) -> bool:
        """Whether a branch that begins with this source line is excluded."""
        return bool(self.text) and self._matches(unit, text, self.text)

    def _matches(self, unit: str, name: str, pattern: str) -> bool:
        # Brackets are part of names such as taps[3]: only * and ? are patterns in them.
        return fnmatchcase(unit, self.unit) and fnmatchcase(name, pattern.replace("[", "[[]"))

    def __str__(self) -> str:
        what = self.text or f"{self.signal}{'' if self.bits[1] == 1 << 16 and not self.bits[0] else list(self.bits)}"
        return f"{self.unit}: {what}"


@dataclass
class Exclusions:
    """The entries of a file, and which of them have explained a hole."""

    entries: tuple[Exclusion, ...]
    used: set[Exclusion] = field(default_factory=set)

    @staticmethod
    def read(path: Path = FILE) -> "Exclusions":
        """The entries of a file.

        Raises:
            ArchonError: the file is not as expected.
        """
        try:
            facts = tomllib.loads(path.read_text(encoding="utf-8"))
            entries = TypeAdapter(tuple[Exclusion, ...]).validate_python(facts.get("exclusion", []))
        except (OSError, ValueError, ValidationError) as error:
            raise ArchonError(f"expected exclusions of coverage in {path}: {error}") from error
        both = [entry for entry in entries if bool(entry.signal) == bool(entry.text)]
        if both:
            raise ArchonError(f"{path}: expected either a signal or a text in every exclusion, got {both[0]!r}")
        return Exclusions(entries)

    def signal(self, unit: str, signal: str, bit: int) -> str:
        """Why this bit need not toggle; empty where there is no reason."""
        return self._reason([entry for entry in self.entries if entry.covers_signal(unit, signal, bit)])

    def branch(self, unit: str, text: str) -> str:
        """Why a branch need not run; empty where there is no reason."""
        return self._reason([entry for entry in self.entries if entry.covers_branch(unit, text)])

    def unused(self) -> list[Exclusion]:
        """Entries that explained nothing: what they were about has gone or is reached."""
        return [entry for entry in self.entries if entry not in self.used]

    def _reason(self, matching: list[Exclusion]) -> str:
        self.used.update(matching)
        return matching[0].reason if matching else ""
