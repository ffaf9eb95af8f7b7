"""What `apart.py` starts: brings the tables of the database up to date whose address is on standard input."""

from __future__ import annotations

import asyncio
import sys

from mlops_backend.services.other.database import Database, upgrade


async def _upgrade(url: str) -> None:
    database = Database(url)
    try:
        async with database.migrating() as connection:
            await upgrade(connection)
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(_upgrade(sys.stdin.read()))
