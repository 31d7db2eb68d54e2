"""What a driver needs of the way to the accelerator."""

from __future__ import annotations

from typing import Protocol


class Bus(Protocol):
    """Registers and memory as the host reaches them; all addresses count bytes."""

    async def read_register(self, offset: int) -> int:
        """The 32 bits at an offset. Raises ArchonError where the bus answers with an error."""
        ...

    async def write_register(self, offset: int, value: int) -> None:
        """Write the 32 bits at an offset. Raises ArchonError where the bus answers with an error."""
        ...

    async def read_memory(self, address: int, size: int) -> bytes:
        """`size` bytes of the memory that the accelerator reads, at an address as the accelerator uses it."""
        ...

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of that memory."""
        ...

    async def wait(self) -> None:
        """Return when the interrupt is high, or after a while."""
        ...
