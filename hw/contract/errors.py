"""The one exception that a user of ARCHON is meant to see."""


class ArchonError(ValueError):
    """Bad input: its message names what was expected and what came. Command lines print it and exit with code 2."""
