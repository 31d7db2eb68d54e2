"""What commands have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from cyclopts import Token, convert
from rich.console import Console

from hw.contract.errors import ArchonError

REFUSED = 2
"""Exit status of a command that was refused."""


def refused(why: object) -> int:
    """Say on standard error why a command was refused, in a line of any length; its exit status."""
    Console(stderr=True).print(f"error: {why}", style="red", highlight=False, markup=False, soft_wrap=True)
    return REFUSED


def not_installed(error: ModuleNotFoundError, what: str = "training") -> int:
    """Refuse a command that needs a package of training's environment, which others do without; its exit status."""
    return refused(f"{what} needs {error.name}, which is not installed: `make train` installs it")


def check_idle(given: Mapping[str, object], wanted: str) -> None:
    """Refuse options that would have no effect.

    Args:
        given: of options, what was given; None, False: nothing.
        wanted: where they have one.

    Raises:
        ArchonError: one was given.
    """
    for option, value in given.items():
        if value is not None and value is not False:
            raise ArchonError(f"{option}: expected {wanted} with it, got {value} without")


def whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """Whole numbers of the command line; cyclopts itself rounds others.

    Raises:
        ValueError: one is no whole number.
    """
    for token in tokens:
        if "." in token.value:
            raise ValueError(f"expected a whole number, got {token.value}")
    return convert(kind, tokens)
