"""What a proxy in front tells: whose request it is."""

from __future__ import annotations

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama

BODY = {"prompt": "Hi"}


@pytest.mark.parametrize("written", ["203.0.113.{}:50123", "[2001:db8:{}::1]:443", "[2001:db8:{}::1]", "203.0.113.{}"])
async def test_a_guesser_locks_out_nobody_else(serve: ServeFactory, fake: FakeOllama, written: str) -> None:
    """Who guesses keys behind a proxy has to wait; its neighbours need not, however the proxy writes addresses."""
    settings = {"trusted_proxies": "127.0.0.1", "auth_failure_limit": "2/hour", "api_keys": "short:guessable"}
    async with serve(fake.url, **settings) as service:

        async def status(who: int, key: str) -> int:
            headers = {"X-API-Key": key, "X-Forwarded-For": written.format(who)}
            return (await service.stranger.get("/api/tags", headers=headers)).status_code

        assert [await status(7, f"no{number}") for number in range(3)] == [401, 401, 429]
        assert (await status(7, "guessable"), await status(8, "guessable")) == (429, 200)
