"""`@limit("2/minute")` on a route of a service that is added."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from quart import Blueprint

from mlops_backend.app import create_app
from mlops_backend.middleware import access
from mlops_backend.middleware.access import Access
from mlops_backend.middleware.route_limit import limit
from tests.service import ADMIN_KEY, Service, serving, settings_for

KEYED, OPEN = "/api/other/limited", "/api/other/limited-open"


def blueprint() -> Blueprint:
    """A route for any key and one for everybody, each twice a minute."""
    routes = Blueprint("limited", __name__)

    @routes.get(KEYED)
    @limit("2/minute")
    async def keyed() -> str:
        return "a"

    @routes.get(OPEN)
    @limit("2/minute")
    async def open_() -> str:
        return "b"

    return routes


@pytest.fixture
async def limited(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The service with those routes; it believes what a proxy on this machine says of the client's address."""
    table = {**access.TABLE, KEYED: {"GET": Access.SERVICE}, OPEN: {"GET": Access.OPEN}}
    monkeypatch.setattr(access, "TABLE", table)
    settings = settings_for(trusted_proxies="127.0.0.1", rate_limit_requests="1/hour")
    app = create_app(settings)
    app.register_blueprint(blueprint())
    async with serving(settings, app) as service:
        yield service


def from_address(address: str) -> dict[str, str]:
    """The headers of a client of another address, behind the proxy."""
    return {"X-Forwarded-For": address}


def is_told_when(refused: httpx.Response) -> bool:
    """Whether a refusal says when to come again: a place is back after half a minute, all of it after a whole one."""
    return (
        refused.status_code == 429
        and refused.json()["code"] == "rate_limited"
        and 29 <= int(refused.headers["Retry-After"]) <= 30
        and refused.headers["RateLimit"].partition(";t=")[0].endswith('";r=0')
    )


async def test_each_principal_has_a_rate_of_its_own(limited: Service) -> None:
    """Two calls pass and tell what is left, the third is 429 and tells when; the administrator's key has its own."""
    answers = [await limited.client.get(KEYED) for _ in range(3)]
    others = [await limited.client.get(KEYED, headers={"X-API-Key": ADMIN_KEY}) for _ in range(3)]
    for three in (answers, others):
        assert [answer.status_code for answer in three] == [200, 200, 429]
        assert [answer.headers["RateLimit-Policy"] for answer in three] == ['"limited.keyed";q=2;w=60'] * 3
        assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in three] == [
            '"limited.keyed";r=1',
            '"limited.keyed";r=0',
            '"limited.keyed";r=0',
        ]
        assert is_told_when(three[2])


async def test_each_address_has_one_where_no_key_is_asked_for(limited: Service) -> None:
    """Strangers are told apart by their address."""
    near = [await limited.stranger.get(OPEN, headers=from_address("192.0.2.1")) for _ in range(3)]
    far = await limited.stranger.get(OPEN, headers=from_address("192.0.2.2"))
    assert [answer.status_code for answer in near] == [200, 200, 429]
    assert is_told_when(near[2])
    assert far.status_code == 200


async def test_routes_are_counted_apart(limited: Service) -> None:
    """A route that is used up keeps nobody from another; a refusal of the gate counts nothing."""
    strangers = [await limited.stranger.get(KEYED) for _ in range(3)]
    keyed = [await limited.client.get(KEYED) for _ in range(3)]
    assert [answer.status_code for answer in strangers] == [401] * 3
    assert [answer.status_code for answer in keyed] == [200, 200, 429]
    assert (await limited.client.get(OPEN)).status_code == 200


@pytest.mark.parametrize("rate", ["often", "0/minute", "5", "5/year", ""])
def test_a_rate_that_cannot_be_read_is_noticed_at_import(rate: str) -> None:
    """A misspelt rate would be none: it stops the start."""
    with pytest.raises(ValueError, match=r".+"):
        limit(rate)
