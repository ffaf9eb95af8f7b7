"""A service that nobody asks for anything holds what it needs, and not what it may need one day."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil

from tests.e2e.server_process import COMMAND, KEY, running

# What nobody who serves an ordinary request has to hold, with SQLite and without Redis.
NOT_HELD = (
    "alembic",
    "mako",
    "asyncpg",
    "redis",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.postgresql",
    "flask_swagger_ui",
    "opentelemetry",
    # Beneath what `postponed.py` names, and read when that is run.
    "h2.connection",
    "hpack",
    "wsproto",
    "jinja2.",
    "email.headerregistry",
    "bdb",
    "rich.text",
)
# Nine tenths of it is code. `make bench` tells whether it is within its promise; a start that compiles its modules, and
# some builds of Python, hold some more.
MOST_BYTES = 88 * 1024 * 1024
_IMPORT = re.compile(r"^import time: .*\| +(\S+)$", re.MULTILINE)
_BANNER = re.compile(r"^ +key +.*$", re.MULTILINE)
EVERYTHING = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "API_KEY": KEY,
    "EMBEDDED_ENGINE": "off",
    "OLLAMA_BASE_URL": "http://127.0.0.1:9",
    "RATE_LIMIT_REQUESTS": "60/minute",
    "RATE_LIMIT_TOKENS": "100000/hour",
    "TOKENS_PER_DAY": "1000000",
    "CONCURRENT_GENERATIONS": "10",
    "PRICES": "*=0.05/0.20",
}


async def test_what_is_not_used_is_not_held(tmp_path: Path) -> None:
    """Neither after the first start, which makes the tables, nor after requests; the interpreter itself tells."""
    async with running(tmp_path, COMMAND, {**EVERYTHING, "PYTHONPROFILEIMPORTTIME": "1"}) as service:
        await service.printed(_BANNER, seconds=60)
        async with service.client() as client:
            assert (await client.get("/health", timeout=60)).status_code == 200
            assert (await client.get("/api/database/conversations", timeout=60)).status_code == 200
        resident = psutil.Process(service.pid).memory_info().rss
        imported = _IMPORT.findall(service.errors)
    assert "sqlalchemy" in imported
    assert [name for name in imported if name.startswith(NOT_HELD)] == []
    assert resident <= MOST_BYTES, f"{resident / 1024 / 1024:.1f} MB"
    with closing(sqlite3.connect(tmp_path / "data" / "mlops_backend.db")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
