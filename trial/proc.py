"""What Linux tells of a process: memory, descriptors, processor time."""

import re
from pathlib import Path

from bench.machine import cpu_seconds

_RSS = re.compile(r"VmRSS:\s+(\d+) kB")

__all__ = ["cpu_seconds", "open_descriptors", "resident_kib"]


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process and of its children; of one that has ended, 0."""
    return sum(_own_kib(each) for each in (pid, *_children(pid)))


def open_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _own_kib(pid: int) -> int:
    try:
        found = _RSS.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
