"""Tools that are Python packages of the environment."""

import os
import shutil
import sys
from pathlib import Path

from hw.contract.errors import ArchonError


def search_path() -> str:
    """PATH with the environment's own programs first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def find_tool(tool: str, package: str, target: str, name: str = "") -> str:
    """Path of a tool.

    Args:
        tool: Its program.
        package: That it comes with.
        target: Of make, which installs the package.
        name: For the message; else the program's.

    Raises:
        ArchonError: it is not there.
    """
    found = shutil.which(tool, path=search_path())
    if found is None:
        raise ArchonError(
            f"expected {name or tool} (package {package}) in the environment, found none; run it as `make {target}`"
        )
    return found
