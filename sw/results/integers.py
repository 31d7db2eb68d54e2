"""Evaluations of bundles in integers: a record counts only for the very bundle that it was made of."""

from dataclasses import dataclass
from pathlib import Path

from sw.golden.record import IntegerRecord, read_record
from sw.results.subjects import Sources, Subject
from sw.results.weights import BundleFacts, bundle_facts

DIGITS = 12
"""Of a digest, in messages."""


@dataclass(frozen=True)
class Evaluated:
    """A record, and the bundle that it is of."""

    path: Path
    record: IntegerRecord
    bundle: BundleFacts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of it besides its figures."""
        bundle = self.bundle.provenance
        said = [f"stage {bundle['stage']}"] if "stage" in bundle else []
        said += [f"grown from {bundle['grown_from']}"] if "grown_from" in bundle else []
        return *said, f"bundle {self.record.bundle_sha256[:DIGITS]}"


@dataclass(frozen=True)
class NotEvaluated:
    """No record that counts.

    Attributes:
        exported: whether there is a trained bundle.
        faults: why the record that should be of it does not count.
    """

    exported: bool
    faults: tuple[str, ...]


def find_evaluated(sources: Sources, subject: Subject) -> Evaluated | NotEvaluated:
    """The evaluations of the first trained bundle.

    Raises:
        ArchonError: a record or a bundle that cannot be read.
    """
    pairs = sources.bundles_and_records(subject.spec.name)
    bundle = next((path for path, _ in pairs if path.exists() and _is_trained(bundle_facts(path), subject)), None)
    facts = None if bundle is None else bundle_facts(bundle)
    found: list[str] = []
    for beside, path in pairs:
        if not path.exists():
            continue
        record = read_record(path)
        if facts is not None and beside != bundle and record.bundle_sha256 != facts.digest:
            continue  # another bundle's, of which nothing is shown
        problems = _faults(record, facts, subject)
        if facts is not None and not problems:
            return Evaluated(path, record, facts)
        found += [f"{sources.shown(path)}: {problem}" for problem in problems]
    return NotEvaluated(bundle is not None, tuple(found))


def _is_trained(bundle: BundleFacts, subject: Subject) -> bool:
    return bundle.provenance.get("weights") == "trained" and subject.spec.is_same(bundle.spec)


def _faults(record: IntegerRecord, bundle: BundleFacts | None, subject: Subject) -> list[str]:
    """Why a record cannot be shown; empty if it can."""
    if bundle is None:
        return [f"expected a trained bundle of {subject.spec.name} as it is described now, got none"]
    if record.bundle_sha256 != bundle.digest:
        return [f"expected a record of the bundle {bundle.digest[:DIGITS]}, got one of {record.bundle_sha256[:DIGITS]}"]
    found = []
    for what, expected, got in (
        ("network", subject.spec.name, record.network),
        ("data set", subject.dataset, record.dataset),
    ):
        if got != expected:
            found.append(f"expected the {what} {expected}, got {got}")
    most = max((evaluation.images for evaluation in record.evaluations.values()), default=0)
    if not 0 < most <= subject.images:
        found.append(f"expected 1 to {subject.images} images, got {most}")
    return found
