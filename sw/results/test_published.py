"""The file of published figures."""

from pathlib import Path

import pytest

from hw.contract.errors import ArchonError
from sw.results.published import PUBLISHED, load_published

TEXT = PUBLISHED.read_text(encoding="utf-8")


def test_what_is_not_there_was_not_published() -> None:
    published = load_published()
    assert published.find("fusionet", "cifar10").accuracy["pruned"] == 94.53
    nothing = published.find("fusionet-nano", "cifar10")
    assert (nothing.accuracy, nothing.parameters, nothing.listed_without_log) == ({}, None, ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("95.29", "952.9", "less than or equal to 100"),
        ("vanilla = 95.29", "plain = 95.29", "'vanilla', 'pruned', 'pred' or 'quantized'"),
        ('network = "mobilenetv2-modified"', 'network = "mobilenetv2"', "got mobilenetv2, cifar10 2 times"),
        ("parameters = 2.7", "parameter = 2.7", "Extra inputs"),
        ("[sources]", "[source]", "sources"),
        ("parameters = 2.7", "parameters = ", "Invalid value"),
    ],
)
def test_faults_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ArchonError, match="expected published figures, got something else") as error:
        load_published(path)
    assert message in str(error.value)
