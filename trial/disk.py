"""A disk that is full for a while: a small one of our own where we may mount it, else the largest size of a file."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"
PIECE = b"f" * 4096
LEAST_FILE = 128 << 10  # the service's log stays below


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """Mount a disk of this size over a folder of our own until the block ends, if we may; 0: nothing is done."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "trial", str(folder)]
    mounted = bool(kib) and not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path, pid: int) -> None:
    """Write until nothing more fits; on a disk of others, let this process make no file there longer."""
    if not folder.is_mount():
        longest = max(path.stat().st_size for path in folder.iterdir() if path.name.endswith("-wal"))
        _bound_files(pid, max(longest, LEAST_FILE))
        return
    with (folder / FILLER).open("ab", buffering=0) as file:
        try:
            while file.write(PIECE):
                pass
        except OSError:
            return


def empty(folder: Path, pid: int) -> None:
    """Make room again."""
    if folder.is_mount():
        (folder / FILLER).unlink(missing_ok=True)
    else:
        _bound_files(pid, resource.RLIM_INFINITY)


def _bound_files(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
