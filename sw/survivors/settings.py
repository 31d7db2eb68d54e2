"""The settings of a curve: limits on survivors, and where each one's network is trained."""

from dataclasses import dataclass
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.bundle.thresholds import check_raise
from sw.run_folder import CHECKPOINT, WEIGHTS, find_stage, read_settings
from sw.spec import BlockSpec, NetworkSpec
from sw.train.options import Options
from sw.train.recipe import LAST_STAGE, parse_shares, shares_text
from sw.train.starts import check_ended, check_run

CHANGES: dict[str, dict[str, bool]] = {
    "costs": {"survivor_costs": True},
    "dense": {"dense_predictors": True},
    "unbiased": {"value_biases": False},
}
"""What a setting may have behind its limits, and the options of archon train that it stands for."""


@dataclass(frozen=True)
class Setting:
    """Limits on the shares of survivors of both ReLUs, of all blocks or by block, and what is CHANGES besides."""

    first: str
    second: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """FIRST/SECOND+CHANGE."""
        return "+".join([f"{self.first}/{self.second}", *self.changes])

    @property
    def folder(self) -> str:
        """The name without what folders better have not."""
        return self.name.replace("/", "-").replace("+", "-")

    def options(self) -> dict[str, str | bool]:
        """Options of archon train."""
        found: dict[str, str | bool] = {"survivors_first": self.first, "survivors_second": self.second}
        for change in self.changes:
            found |= CHANGES[change]
        return found


def parse_setting(text: str) -> Setting:
    """FIRST/SECOND, each as --survivors-first of archon train, and + before each of CHANGES.

    Raises:
        ArchonError: something else.
    """
    limits, *changes = text.split("+")
    parts = limits.split("/")
    if len(parts) != len(("first", "second")):
        raise ArchonError(f"setting: expected shares of survivors FIRST/SECOND, as 0.4/0.3, got {text!r}")
    for part in parts:
        parse_shares(part)
    unknown = [change for change in changes if change not in CHANGES]
    if unknown:
        raise ArchonError(f"setting {text}: expected {' or '.join(CHANGES)} behind +, got {unknown[0]!r}")
    return Setting(parts[0], parts[1], tuple(changes))


def named_run(folder: Path, network: NetworkSpec) -> tuple[str, Path]:
    """A run of stage quantized that was trained otherwise: FIRST/SECOND (BUILD), from its folder BUILD/NETWORK/train/quantized.

    Raises:
        ArchonError: it is no such run of this network, or has not ended.
    """
    check_run(network, LAST_STAGE, folder)
    check_ended(folder)
    if not (folder / WEIGHTS).is_file():
        raise ArchonError(f"{folder / WEIGHTS} is missing: expected what a run that has ended leaves")
    depth = len(folder.absolute().parents) - 1
    recipe = read_settings(folder).recipe
    limits = "/".join(map(shares_text, (recipe.survivors_first, recipe.survivors_second)))
    changes = [name for name, options in CHANGES.items() if options.items() <= vars(recipe).items()]
    return f"{'+'.join([limits, *changes])} ({folder.absolute().parents[min(2, depth)].name})", folder


def parse_raise(text: str, network: NetworkSpec) -> tuple[float, float]:
    """FIRST/SECOND, by how many levels of r1 thresholds are raised.

    Raises:
        ArchonError: something else, or nothing that the network's thresholds can be raised by.
    """
    try:
        first, second = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise ArchonError(f"raise: expected levels FIRST/SECOND, as 0.5/1, got {text!r}") from error
    check_raise(network, first, second)
    return first, second


def options_of(setting: Setting, common: Options, build: Path, network: NetworkSpec) -> Options:
    """The training of a setting, resumed or begun anew; its artefacts go to BUILD/NETWORK/survivors/SETTING."""
    changes = {
        "stage": LAST_STAGE,
        "resume": not common.anew,
        "start": common.start or find_stage(build, network.name, LAST_STAGE, CHECKPOINT),
        "build": build / network.name / "survivors" / setting.folder,
    }
    limits = setting.options()
    if not any(isinstance(block, BlockSpec) for block in network.blocks):
        del limits["survivors_second"]  # the second ReLU of pairs is exact
    return Options(**{**vars(common), **changes, **limits})
