"""The Ollama that is claimed where there is none behind: each route of that release is served here."""

from __future__ import annotations

from typing import Final

import pytest

from mlops_backend.middleware.access import TABLE
from mlops_backend.services.llm.backends.catalogue import SPOKEN_VERSION
from tests.conftest import ServeFactory
from tests.fakes.openai_server import FakeOpenAI

# What `GenerateRoutes` in server/routes.go of github.com/ollama/ollama registers at the tag v0.14.0.
RELEASE: Final = "0.14.0"
ROUTES: Final = (
    ("HEAD", "/"),
    ("GET", "/"),
    ("HEAD", "/api/version"),
    ("GET", "/api/version"),
    ("HEAD", "/api/tags"),
    ("GET", "/api/tags"),
    ("GET", "/api/ps"),
    ("POST", "/api/show"),
    ("POST", "/api/generate"),
    ("POST", "/api/chat"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("HEAD", "/api/blobs/<digest>"),
    ("POST", "/api/blobs/<digest>"),
    ("POST", "/api/me"),
    ("POST", "/api/signout"),
    ("DELETE", "/api/user/keys/<key>"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/<path:model>"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
)
# Clients ask for at least these: Codex 0.171 `--oss` does not start below its own.
WANTED: Final = {"codex --oss": (0, 13, 4)}


def test_the_routes_are_those_of_the_version_claimed() -> None:
    """Who claims another release has its routes to look up, and to write down here."""
    assert SPOKEN_VERSION == RELEASE


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_each_route_of_the_release_is_served(method: str, route: str) -> None:
    """It stands in the table of routes, which is the application's own map."""
    assert method in TABLE.get(route, {}), f"{method} {route}"


@pytest.mark.parametrize("client", WANTED)
async def test_a_client_that_asks_for_a_version_is_let_in(serve: ServeFactory, client: str) -> None:
    """What is told where no Ollama is behind is not below what the client demands."""
    async with FakeOpenAI() as server, serve(openai_backends=server.url) as service:
        told = (await service.client.get("/api/version")).json()["version"]
    assert tuple(map(int, told.split("."))) >= WANTED[client]
