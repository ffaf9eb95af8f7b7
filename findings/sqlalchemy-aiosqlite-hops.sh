#!/usr/bin/env bash
# SQLAlchemy's adapter for aiosqlite goes to SQLite's thread four times for one SELECT.
#
# aiosqlite gives each connection a thread; the event loop hands it a call and waits. For each statement SQLAlchemy
# makes a cursor, executes, fetches all rows and closes the cursor: four calls, each of which wakes both threads.
# One call would do: aiosqlite's own `execute_fetchall` is one.
#
# For whom: services with many small statements on SQLite through create_async_engine.
# Versions: SQLAlchemy 2.1.9, aiosqlite 0.22.1, the newest on 2026-11-27; SQLAlchemy 2.0.57 does the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
cat > "$folder/count.py" <<'PY'
import asyncio
import sys
import time
from importlib.metadata import version

import aiosqlite
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

TIMES = 2000
SELECT = "SELECT 1"
calls: list = []
execute = aiosqlite.Connection._execute


def counted(self, function, *args, **kwargs):
    calls.append(getattr(function, "__name__", "?"))
    return execute(self, function, *args, **kwargs)


async def by_sqlalchemy():
    """The calls of one statement, once the connection is open and in a transaction; and seconds for each of many."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
        seen = {}
        for statement in (SELECT, "INSERT INTO t VALUES (1)"):
            await connection.execute(text(statement))
            calls.clear()
            await connection.execute(text(statement))
            seen[statement] = list(calls)
        begin = time.perf_counter()
        for _ in range(TIMES):
            await connection.exec_driver_sql(SELECT)
        seconds = (time.perf_counter() - begin) / TIMES
    await engine.dispose()
    return seen, seconds


async def by_aiosqlite():
    async with aiosqlite.connect(":memory:") as connection:
        calls.clear()
        await connection.execute_fetchall(SELECT)
        seen = list(calls)
        begin = time.perf_counter()
        for _ in range(TIMES):
            await connection.execute_fetchall(SELECT)
        return seen, (time.perf_counter() - begin) / TIMES


async def main():
    return await by_sqlalchemy(), await by_aiosqlite()


aiosqlite.Connection._execute = counted
(seen, seconds), (alone, seconds_alone) = asyncio.run(main())
print("SQLAlchemy", version("sqlalchemy"), "aiosqlite", version("aiosqlite"), "Python", sys.version.split()[0])
for statement, names in seen.items():
    print(f"  SQLAlchemy, {statement}: {len(names)} calls to the thread: {', '.join(names)}")
print(f"  aiosqlite's execute_fetchall, {SELECT}: {len(alone)} call")
print(f"  for each SELECT 1: {seconds * 1e6:.0f} us by SQLAlchemy, {seconds_alone * 1e6:.0f} us by aiosqlite alone")
assert len(alone) == 1, "the comparison itself does not hold; look at this script"
if len(seen[SELECT]) < 4:
    sys.exit("no longer so: SQLAlchemy needs fewer than four calls to aiosqlite's thread for a SELECT.")
PY
for sqlalchemy in 2.0.57 2.1.9; do
    timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
        "sqlalchemy[asyncio]==$sqlalchemy" aiosqlite==0.22.1
    timeout 60 "$folder/venv/bin/python" "$folder/count.py"
done

# Seen on 2026-11-27:
#   SQLAlchemy 2.0.57 aiosqlite 0.22.1 Python 3.11.7
#     SQLAlchemy, SELECT 1: 4 calls to the thread: cursor, execute, fetchall, close
#     SQLAlchemy, INSERT INTO t VALUES (1): 3 calls to the thread: cursor, execute, close
#     aiosqlite's execute_fetchall, SELECT 1: 1 call
#     for each SELECT 1: 1655 us by SQLAlchemy, 366 us by aiosqlite alone
#   SQLAlchemy 2.1.9 aiosqlite 0.22.1 Python 3.11.7
#     SQLAlchemy, SELECT 1: 4 calls to the thread: cursor, execute, fetchall, close
#     SQLAlchemy, INSERT INTO t VALUES (1): 3 calls to the thread: cursor, execute, close
#     aiosqlite's execute_fetchall, SELECT 1: 1 call
#     for each SELECT 1: 1002 us by SQLAlchemy, 208 us by aiosqlite alone
