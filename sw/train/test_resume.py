"""Runs that go on: none loses a row of its log, or mixes settings."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from sw.run_folder import ACCURACY, read_log
from sw.train import checkpoint
from sw.train.run import train
from sw.train.test_train import run_of, tiny_data


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Steps are run one operation after the other: so few of them are faster without compiling."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("cut", ["save_checkpoint", "write_log"])
def test_a_run_killed_at_the_end_of_an_epoch_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    data, run = tiny_data(32), run_of(tmp_path, recipe={"epochs": 2})
    assert train(replace(run, stop_after=1), data, data) is None

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, cut, killed)
        train(replace(run, resume=True), data, data)
    accuracy = train(replace(run, resume=True), data, data)
    rows = read_log(run.folder)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1][ACCURACY]) == accuracy
