"""Official files of data sets: where they lie, whether they are whole, and how they are fetched."""

import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from hw.contract.errors import ArchonError

DATA_VARIABLE = "ARCHON_DATA"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class OfficialFile:
    """A file as its authors publish it.

    Attributes:
        name: of the file.
        md5: of its content, in hexadecimal.
        url: where it is fetched; None for a part of an archive.
    """

    name: str
    md5: str
    url: str | None = None

    def check(self, path: Path) -> Path:
        """The path of a copy, if it is whole.

        Raises:
            ArchonError: it is not, or cannot be read.
        """
        try:
            found = _md5(path)
        except OSError as error:
            raise ArchonError(f"{path} cannot be read: {error}") from error
        if found != self.md5:
            raise ArchonError(f"{path} is damaged or incomplete: expected md5 {self.md5}, got {found}; delete it")
        return path

    def download(self, title: str) -> Path:
        """A checked copy in the cache, fetched if it is not there yet.

        Raises:
            ArchonError: no network, or what came is not the file; the cache then holds nothing of it.
        """
        path = cache_folder() / self.name
        if path.exists():
            return self.check(path)
        if self.url is None:
            raise ArchonError(f"{title}: {self.name} is missing")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{self.name}.{os.getpid()}.partial")
        try:
            _fetch(self.url, partial, title)
            if (found := _md5(partial)) != self.md5:
                raise ArchonError(
                    f"{title}: what came from {self.url} is damaged or incomplete: expected md5 {self.md5}, got {found} of "
                    f"{partial.stat().st_size:,} bytes; nothing of it is kept, so try again"
                )
            partial.replace(path)
        except (http.client.HTTPException, OSError) as error:
            raise ArchonError(
                f"{title} could not be downloaded ({error}): fetch {self.url} where there is a network, "
                f"put it in a folder and set {DATA_VARIABLE} to that folder"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return path


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def data_folder(folder: Path | None) -> Path | None:
    """The folder given, else the one that ARCHON_DATA names, else none."""
    named = os.environ.get(DATA_VARIABLE)
    return folder or (Path(named) if named else None)


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "archon"


def keras_folder() -> Path:
    """Where Keras keeps the data sets that it has fetched (keras.utils.get_file)."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def _fetch(url: str, target: Path, title: str) -> None:
    columns = (title, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with urllib.request.urlopen(url, timeout=30) as source, target.open("wb") as sink, Progress(*columns) as progress:  # noqa: S310 (fixed addresses)
        task = progress.add_task("download", total=int(source.headers.get("Content-Length", 0)) or None)
        while chunk := source.read(_CHUNK):
            sink.write(chunk)
            progress.advance(task, len(chunk))
