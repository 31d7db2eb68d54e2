"""What commands have in common."""

from rich.console import Console

REFUSED = 2
"""Exit status of a command that was refused."""


def refused(why: object) -> int:
    """Say on standard error why a command was refused, in a line of any length; its exit status."""
    Console(stderr=True).print(f"error: {why}", style="red", highlight=False, markup=False, soft_wrap=True)
    return REFUSED
