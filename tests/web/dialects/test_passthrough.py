"""Routes that the operator lets through."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from mlops_backend.config import ConfigError
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import Service
from tests.web.test_logs import requests_in

ROUTES = "POST /v1/systemone,GET /api/news"


async def test_unknown_routes_are_not_found(service: Service, fake: FakeOllama) -> None:
    """Nobody knows whether they are harmless."""
    for answer in (await service.client.post("/v1/systemone", json={}), await service.client.get("/api/news")):
        assert answer.status_code == 404
    assert not [request for request in fake.requests if request.path in ROUTES]


async def test_listed_routes_are_relayed(fake: FakeOllama, serve: ServeFactory) -> None:
    """With their body and query, for any key and no stranger; the query is not logged."""
    async with serve(fake.url, passthrough_routes=ROUTES) as service:
        assert (await service.stranger.get("/api/news")).status_code == 401
        with capture_logs() as logs:
            answer = await service.client.get("/api/news", params={"q": "a secret prompt"})
        assert (answer.status_code, answer.text) == (404, "404 page not found")
        asked = await fake.wait_for_request("/api/news")
        assert (asked.query, asked.body) == ("q=a+secret+prompt", b"")
        assert "secret" not in str(requests_in(logs))
        await service.client.post("/v1/systemone", json={"model": "llama3"})
        assert (await fake.wait_for_request("/v1/systemone")).json() == {"model": "llama3"}


async def test_other_methods_stay_closed(fake: FakeOllama, serve: ServeFactory) -> None:
    """What was listed is one method of one path."""
    async with serve(fake.url, passthrough_routes=ROUTES) as service:
        for method, path in (("POST", "/api/news"), ("HEAD", "/api/news"), ("GET", "/v1/systemone/x")):
            assert (await service.client.request(method, path)).status_code in {404, 405}
    assert not fake.requests


async def test_cloud_models_stay_refused(fake: FakeOllama, serve: ServeFactory) -> None:
    """A model is a model, whatever the route does with it."""
    async with serve(fake.url, passthrough_routes=ROUTES) as service:
        for field in ("model", "Model", "name"):
            answer = await service.client.post("/v1/systemone", json={field: "x:cloud"})
            assert answer.status_code == 403
            assert answer.json()["error"]["type"] == "permission_error"


async def test_a_route_of_the_service_cannot_be_opened(fake: FakeOllama, serve: ServeFactory) -> None:
    """`pull` would be for everybody."""
    with pytest.raises(ConfigError, match="PASSTHROUGH_ROUTES"):
        async with serve(fake.url, passthrough_routes="POST /api/pull"):
            raise AssertionError("it started")
