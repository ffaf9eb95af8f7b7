"""The files of the console: ours, and those of its libraries where they were installed."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[3] / "console"
LIBRARIES: Final = Path(sys.prefix) / "share" / "mlops_backend" / "console" / "vendor"
INDEX: Final = "index.html"
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
# npm's description of the libraries is for whoever installs them.
_UNSERVED: Final = frozenset({"package.json", "package-lock.json"})
_COMPRESSED_ALREADY: Final = frozenset({".png"})


@dataclass(frozen=True)
class File:
    """One file, as it is sent."""

    content: bytes
    content_type: str
    is_small_already: bool = False

    @cached_property
    def zipped(self) -> bytes | None:
        """The same in gzip, unless that is no smaller."""
        if self.is_small_already:
            return None
        zipped = gzip.compress(self.content, mtime=0)
        return zipped if len(zipped) < len(self.content) else None


class Files:
    """All files of the console, read once.

    Args:
        folder: ours.
        libraries: those of others; a folder that is not there has none.
    """

    def __init__(self, folder: Path = FOLDER, libraries: Path = LIBRARIES) -> None:
        self._files = {**_read(folder, ""), **_read(libraries, "vendor/")}
        digest = sha256()
        for name, file in sorted(self._files.items()):
            digest.update(f"{name}\0{len(file.content)}\0".encode() + file.content)
        self.build = digest.hexdigest()[:16]

    def find(self, name: str) -> File | None:
        """The file of that name, below `assets/<build>/`; the page itself is none of them."""
        return self._files.get(name) if name != INDEX else None

    @property
    def libraries(self) -> list[str]:
        """The scripts and style sheets of others that are there, by their names below `vendor/`."""
        found = [name.removeprefix("vendor/") for name in self._files if name.startswith("vendor/")]
        return sorted(name for name in found if name.endswith((".js", ".css")))

    @cached_property
    def index(self) -> File:
        """The page of a browser that may have signed in, which asks about that."""
        return self._page("ask")

    @cached_property
    def door(self) -> File:
        """The page of one that has not, which need not ask."""
        return self._page("none")

    def _page(self, session: str) -> File:
        """The page, which names the build and the libraries that are there."""
        page = self._files[INDEX]
        values = {"build": self.build, "libraries": " ".join(self.libraries), "session": session}
        filled = page.content
        for name, value in values.items():
            filled = filled.replace(f"{{{{{name}}}}}".encode(), value.encode())
        return File(filled, page.content_type)


def _read(folder: Path, prefix: str) -> dict[str, File]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in _TYPES and path.name not in _UNSERVED)
    return {
        prefix + path.relative_to(folder).as_posix(): File(
            path.read_bytes(), _TYPES[path.suffix], path.suffix in _COMPRESSED_ALREADY
        )
        for path in paths
    }
