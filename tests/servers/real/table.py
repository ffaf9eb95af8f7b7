"""The table that the job prints: each request, and what came of it before each server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """What came of each case at each server; a server that could not be had has a reason."""

    results: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def note(self, server: str, case: str, result: str) -> None:
        """Keep one result."""
        self.results.setdefault(case, {})[server] = result

    def rendered(self, servers: Sequence[str]) -> list[str]:
        """The lines of the table, and of the sums below it."""
        met = [server for server in servers if any(server in found for found in self.results.values())]
        rows = [["request", *met]]
        rows += [[case, *(found.get(server, "") for server in met)] for case, found in self.results.items()]
        widths = [min(60, max(len(row[place]) for row in rows)) for place in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += [f"{server}: {_sums(self.results, server)}" for server in met]
        return [*lines, *(f"{server}: not asked: {why}" for server, why in self.missing.items())]


def _sums(results: Mapping[str, Mapping[str, str]], server: str) -> str:
    counts: dict[str, int] = {}
    for found in results.values():
        kind = found.get(server, "").partition(":")[0].removesuffix(" (when asked again)")
        counts[kind] = counts.get(kind, 0) + bool(kind)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if count)
