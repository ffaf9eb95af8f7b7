"""The books: what clients saw, what backends did, and what stands in the ledger, and whether they agree."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import asyncpg

from chaos.clients import Asked, Ending
from chaos.stage import Stage

# What the ledger may say of a generation that its client saw end so.
MAY_BE = {
    Ending.WHOLE: {"done"},
    Ending.ERROR: {"error", "refused", "timeout", "drained", "cancelled"},
    Ending.GONE: {"done", "error", "refused", "timeout", "client_gone", "drained"},
}


async def rows(stage: Stage) -> dict[str, list[str]]:
    """The outcomes in the ledger by the requests' ids."""
    question = "SELECT request_id, outcome FROM generations"
    if stage.database_url:
        connection = await asyncpg.connect(stage.database_url.replace("postgresql+asyncpg", "postgresql"))
        try:
            found = [(row[0], row[1]) for row in await connection.fetch(question)]
        finally:
            await connection.close()
    else:
        with closing(sqlite3.connect(stage.folder / "data" / "mlops_backend.db")) as database:
            found = database.execute(question).fetchall()
    told: dict[str, list[str]] = {}
    for name, outcome in found:
        told.setdefault(name, []).append(outcome)
    return told


def contradictions(asked: Sequence[Asked], ledger: dict[str, list[str]], stage: Stage) -> dict[str, list[str]]:
    """By each rule, who breaks it."""
    answered: Counter[str] = Counter()
    for backend in stage.backends:
        answered += backend.answered
    answered += Counter() if stage.real is None else stage.real.answered()
    broken: dict[str, list[str]] = {
        "each ends in exactly one way": [a.name for a in asked if a.ending is Ending.NEVER],
        "none is cut silently": [a.name for a in asked if a.ending is Ending.SILENT],
        "none is answered whole twice": [a.name for a in asked if answered[a.name] > 1],
        "what is whole was answered by a backend": [
            a.name for a in asked if a.ending is Ending.WHOLE and not answered[a.name]
        ],
        "each is in the ledger once": [],
        "the ledger says how it ended": [],
    }
    for each in asked:
        told = ledger.get(each.name, [])
        # Who leaves at once may never have been heard; a worker that is killed has the last half second in its memory.
        may_be_missing = each.ending in (Ending.GONE, Ending.UNREACHED, Ending.CUT) or stage.killed_workers
        if len(told) > 1 or (not told and not may_be_missing):
            broken["each is in the ledger once"].append(f"{each.name} ({each.ending.value}): {told}")
        if told and each.ending in MAY_BE and told[0] not in MAY_BE[each.ending]:
            broken["the ledger says how it ended"].append(f"{each.name} ({each.ending.value}): {told[0]}")
    return broken
