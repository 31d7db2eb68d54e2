"""What the tests of both arbiters share."""

import os
from collections.abc import Sequence

REGION = 1 << 10
"""Every client has its own addresses, so that an address names its client."""

PAYLOADS = 40
"""Payloads of every client."""


def clients() -> int:
    """Clients of the arbiter under test."""
    return int(os.environ["ARCHON_CLIENTS"])


def background() -> int:
    """How many of them, the last ones, ask only when no other client does."""
    return int(os.environ.get("ARCHON_BACKGROUND", "0"))


def check_fair(granted: Sequence[int]) -> None:
    """AssertionError where, while all clients ask without a pause, one gets less than half of an equal share."""
    everybody = granted[: PAYLOADS * clients() // 2]
    counts = [everybody.count(client) for client in range(clients())]
    assert min(counts) >= PAYLOADS // 4, f"of {len(everybody)} grants the clients got {counts}"
