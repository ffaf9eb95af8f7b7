"""What belongs to a key does not exist for another one: every route that names a thing, from the table of routes."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import httpx
import pytest

from mlops_backend.middleware.access import TABLE, Access
from tests.conftest import ServeFactory
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY

OTHER: Final = {"X-API-Key": "key-of-somebody-else"}
OWNED: Final = ("/api/usage/generations/<generation_id>",)
# Routes that name something which belongs to no key, with the reason.
NOBODYS: Final = {
    "/docs/assets/<path:filename>": "files of the documentation",
    "/api/llm/streams/<ticket_id>": "whoever has the address may fetch it: it is the key",
    "/api/blobs/<digest>": "blobs belong to the backend",
    "/api/user/keys/<key>": "keys of the backend's own account",
    "/v1/models/<model>": "models belong to the backend; tests/web/test_model_lists.py has a key's own list",
}


def test_every_route_that_names_a_thing_is_known_here() -> None:
    """It is the administrator's, nobody's with a reason, or tested below."""
    named = {rule for rule, methods in TABLE.items() if "<" in rule and Access.ADMIN not in methods.values()}
    assert named == {*OWNED, *NOBODYS}


@pytest.mark.parametrize("rule", OWNED)
async def test_another_keys_thing_is_not_there(serve: ServeFactory, fake: FakeOllama, rule: str) -> None:
    """404, word for word as for one that never was; to its own key it is there."""
    async with serve(fake.url, api_keys=f"tester:{ORDINARY_KEY},other:{OTHER['X-API-Key']}") as service:
        made = await service.client.post("/api/generate", json={"model": "llama3", "prompt": "x", "stream": False})
        await eventually(lambda: service.admission.running == 0)
        thing = quote(made.headers["X-Request-ID"])

        async def ask(name: str, headers: dict[str, str]) -> httpx.Response:
            return await service.stranger.get(rule.partition("<")[0] + name, headers=headers)

        assert (await ask(thing, {"X-API-Key": ORDINARY_KEY})).status_code == 200
        refused, unknown = await ask(thing, OTHER), await ask("0" * 32, OTHER)
    assert refused.status_code == unknown.status_code == 404
    assert {**refused.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
