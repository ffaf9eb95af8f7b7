"""SMG, which passes on to llama.cpp's server, asked directly and through the service."""

from __future__ import annotations

from typing import Final

import pytest

from tests.servers.real.asking import Pair, cases_of, check
from tests.servers.real.routers import SMG
from tests.servers.real.table import Table

SERVER: Final = SMG
pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@cases_of(SERVER)
async def test_answers(pair: Pair, name: str, table: Table) -> None:
    """A native answer is the server's own, a translated one is right by Ollama's rules."""
    await check(pair, name, table)
