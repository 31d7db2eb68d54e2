"""Seed after seed for a given time; what came of them is on disk after each one."""

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sim.report import write_whole
from sim.soak.check import Outcome, check_seed
from sim.toolchain import BUILD

FOLDER = BUILD / "soak"

Check = Callable[[int, Path, Callable[[str], None]], Outcome]
"""As check_seed."""


def command(seed: int) -> str:
    """Repeats one network."""
    return f"make soak SEED={seed} NETWORKS=1"


def soak(
    console: Console,
    seconds: float,
    seeds: Iterable[int],
    *,
    networks: int | None = None,
    stop: bool = False,
    folder: Path = FOLDER,
    check: Check = check_seed,
) -> list[Outcome]:
    """Run random networks.

    A line about each is printed before it runs, and where it fails why, and what repeats it. An interrupt (Ctrl-C, or a
    scheduler's SIGTERM) ends the last one without a result.

    Args:
        console: To print on.
        seconds: After which no further network is begun.
        seeds: Of the networks; as many as there is time for.
        networks: How many at most.
        stop: Whether to stop at the first one that fails.
        folder: For the results, and the files of networks that fail.
        check: Runs one seed.
    """
    outcomes: list[Outcome] = []
    started = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    write_results(outcomes, folder)
    with interruptible(), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("random networks", total=seconds)
        seed = None
        try:
            for seed in itertools.islice(seeds, networks):
                if time.monotonic() - started >= seconds:
                    break
                outcome = check(seed, folder / f"seed-{seed}", partial(_announce, console, seed))
                outcomes.append(outcome)
                write_results(outcomes, folder)
                failures = sum(not outcome.passed for outcome in outcomes)
                bar.update(
                    task,
                    completed=min(seconds, time.monotonic() - started),
                    description=f"{len(outcomes)} random networks, {failures} failed",
                )
                if not outcome.passed:
                    _say(console, f"seed {seed} FAILED: {outcome.reason}\nagain: {command(seed)}", "red")
                    if stop:
                        break
        except KeyboardInterrupt:
            _say(console, f"interrupted at seed {seed}", "yellow")
    return outcomes


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM is taken as an interrupt from the keyboard, too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write_results(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write results.json and results.csv, a row a network; their paths."""
    rows = [asdict(outcome) | {"again": command(outcome.seed)} for outcome in outcomes]
    texts = {
        "results.json": json.dumps(rows, indent=2) + "\n",
        "results.csv": pd.DataFrame(rows).to_csv(index=False),
    }
    for name, text in texts.items():
        write_whole(folder / name, partial(Path.write_text, data=text, encoding="utf-8"))
    return [folder / name for name in texts]


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One line about all of them, and one for each that failed."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    total, refused = sum(outcome.compared for outcome in outcomes), sum(outcome.refused for outcome in outcomes)
    lines = [f"{'FAIL' if failed else 'PASS'}: {len(failed)} of {len(outcomes)} random networks failed"]
    lines[0] += f"; {total:,} numbers compared, {refused} networks did not fit their configuration and were drawn anew"
    return "\n".join([*lines, *(f"again: {command(outcome.seed)}" for outcome in failed)])


def _announce(console: Console, seed: int, what: str) -> None:
    _say(console, f"seed {seed}: {what}")


def _say(console: Console, what: str, style: str = "") -> None:
    console.print(what, style=style, highlight=False, markup=False)
