"""Journals: what answers consisted of, piece by piece, for whoever reads them late, again, or at another process."""

from __future__ import annotations

from mlops_backend.services.other.journals.journal import Bounds, Claim, Head, Journals, Listed, Opening, Page
from mlops_backend.services.other.journals.memory import MemoryJournals
from mlops_backend.services.other.journals.parent import JournalsForWorkers, WorkersJournals
from mlops_backend.services.other.journals.reading import follow
from mlops_backend.services.other.journals.wiring import build_journals, build_journals_of_parent, most_of_whole
from mlops_backend.services.other.journals.writing import Writer

__all__ = [
    "Bounds",
    "Claim",
    "Head",
    "Journals",
    "JournalsForWorkers",
    "Listed",
    "MemoryJournals",
    "Opening",
    "Page",
    "WorkersJournals",
    "Writer",
    "build_journals",
    "build_journals_of_parent",
    "follow",
    "most_of_whole",
]
