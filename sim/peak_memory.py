"""How much memory the processes take that this one starts."""

import os
import resource
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PROCESSES = Path("/proc")
SAMPLE_SECONDS = 0.05


class PeakMemory:
    """While it is entered, watches the resident memory of all processes below this one, all together.

    `mebibytes` is the most that a sample saw; None where the system does not tell, or where there was no such process. A
    process counts from the second sample on that sees it: one that has just been started may still show its parent's memory.
    """

    def __init__(self) -> None:
        self.mebibytes: float | None = None
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching."""
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        seen: dict[int, int] = {}
        while True:
            before, seen = seen, _descendants_pages(os.getpid())
            pages = sum(resident for process, resident in seen.items() if process in before)
            if pages:
                self.mebibytes = max(self.mebibytes or 0.0, pages * resource.getpagesize() / 2**20)
            if self._ended.wait(SAMPLE_SECONDS):
                return


def _descendants_pages(ancestor: int) -> dict[int, int]:
    """Resident pages of each process below one."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for status in PROCESSES.glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        process = int(status.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        resident[process] = int(fields[21])
    pages: dict[int, int] = {}
    waiting = list(children.get(ancestor, ()))
    while waiting:
        process = waiting.pop()
        pages[process] = resident[process]
        waiting += children.get(process, ())
    return pages
