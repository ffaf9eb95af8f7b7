"""The gate: a pure decision on method, matched route, headers and peer."""

from __future__ import annotations

from base64 import b64encode

import pytest
from werkzeug.datastructures import Headers

from mlops_backend.config import PLACEHOLDER_KEY
from mlops_backend.errors import Forbidden, MethodNotAllowed, Unauthorized
from mlops_backend.middleware.access import TABLE, Access
from mlops_backend.middleware.auth import Decision, Gate
from mlops_backend.middleware.client_address import client_address
from mlops_backend.principal import ANONYMOUS, Principal
from mlops_backend.services.other.keys.stores import ADMINISTRATOR, SettingsKeyStore
from tests.service import settings_for

KEYS = SettingsKeyStore("admin-key", {"alice": "alice-key", "bob": "bob-key"})
GATE = Gate(KEYS, auth_enabled=True, docs_enabled=True)
ROUTE = "/api/llm/generate"


def ask(gate: Gate, peer: str = "127.0.0.1", route: str | None = ROUTE, **headers: str) -> Principal | None:
    """Put a POST with these headers before the gate; `_` in a name stands for `-`."""
    named = Headers([(name.replace("_", "-"), value) for name, value in headers.items()])
    decision = gate.authorise("POST", route, named, peer)
    if decision.error is not None:
        raise decision.error
    return decision.principal


@pytest.mark.parametrize(
    ("key", "principal"),
    [
        ("admin-key", ADMINISTRATOR),
        ("alice-key", Principal("alice", "settings:alice")),
        ("bob-key", Principal("bob", "settings:bob")),
    ],
)
def test_a_key_is_taken_from_either_header(key: str, principal: Principal) -> None:
    """`X-API-Key`, `Authorization: Bearer` in any case, or both when they agree."""
    assert ask(GATE, X_API_Key=key) == principal
    assert ask(GATE, Authorization=f"Bearer {key}") == principal
    assert ask(GATE, Authorization=f"bEARER   {key} ") == principal
    assert ask(GATE, X_API_Key=key, Authorization=f"Bearer {key}") == principal


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_API_Key": ""},
        {"X_API_Key": "wrong"},
        {"X_API_Key": "admin-ke"},
        {"X_API_Key": "admin-key "},
        {"X_API_Key": "Admin-key"},
        {"X_API_Key": "admin-kéy"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic Ong="},  # :x
        {"Authorization": "Basic YWxpY2Uta2V5OmJvYi1rZXk="},  # alice-key:bob-key
        {"X_API_Key": "alice-key", "Authorization": "Basic eDpib2Ita2V5"},  # x:bob-key
        {"X_API_Key": "alice-key", "Authorization": "Basic eDp5"},  # x:y
        {"Authorization": "admin-key"},
        {"X_API_Key": "alice-key", "Authorization": "Bearer bob-key"},
        {"X_API_Key": "alice-key", "Authorization": "Bearer admin-key"},
    ],
)
@pytest.mark.parametrize("route", [ROUTE, None, "/", "/api/other/info"])
def test_everything_else_is_refused(headers: dict[str, str], route: str | None) -> None:
    """No key, an unknown one and two that differ are 401, on known and unknown routes."""
    with pytest.raises(Unauthorized):
        ask(GATE, route=route, **headers)


@pytest.mark.parametrize("pair", ["x:alice-key", "alice-key:x", "alice-key:", ":alice-key", "alice-key:alice-key"])
def test_either_part_of_basic_may_be_the_key(pair: str) -> None:
    """Programs that know only a user name and a password put the key into one of them."""
    basic = f"Basic {b64encode(pair.encode()).decode()}"
    assert ask(GATE, Authorization=basic) == Principal("alice", "settings:alice")
    assert ask(GATE, Authorization=basic, X_API_Key="alice-key") == Principal("alice", "settings:alice")


def test_what_is_not_in_the_table_is_for_nobody() -> None:
    """A route that was forgotten there is refused to every key, the administrator's too."""
    for headers in ({"X_API_Key": "admin-key"}, {"X_API_Key": "alice-key"}):
        with pytest.raises(Forbidden, match="table"):
            ask(GATE, route="/api/other/forgotten", **headers)


def test_a_method_that_is_not_in_the_table_is_not_allowed() -> None:
    """Ollama takes no HEAD for most of its lists, and the answer names what is taken."""
    error = GATE.authorise("HEAD", "/api/ps", Headers({"X-API-Key": "alice-key"}), "127.0.0.1").error
    assert isinstance(error, MethodNotAllowed)
    assert error.headers["Allow"] == "GET, OPTIONS"


def test_the_owners_routes_need_the_switch_and_the_administrator() -> None:
    """`ALLOW_ACCOUNT_ROUTES` opens them to the administrator only."""
    switched_on = Gate(KEYS, auth_enabled=True, docs_enabled=True, account_routes=True)
    assert ask(switched_on, route="/api/me", X_API_Key="admin-key") == ADMINISTRATOR
    for gate, key in ((switched_on, "alice-key"), (GATE, "admin-key"), (GATE, "alice-key")):
        with pytest.raises(Forbidden, match="owner"):
            ask(gate, route="/api/me", X_API_Key=key)


def test_public_is_a_list_of_method_and_matched_route() -> None:
    """What is open is open by method and rule: another method, or another rule, is not."""
    for route, methods in TABLE.items():
        for method, access in methods.items():
            if access is Access.OPEN:
                assert GATE.authorise(method, route, Headers(), "203.0.113.7") == Decision(None)
    for method, route in (("POST", "/health"), ("GET", "/"), ("DELETE", "/api/llm/streams/<stream_id>")):
        with pytest.raises(Unauthorized):
            GATE.authorise(method, route, Headers(), "127.0.0.1")


def test_docs_are_open_while_enabled() -> None:
    """The page, its assets, the document, and a browser's `GET /`, are open only with `DOCS_ENABLED`."""
    browser = Headers({"Accept": "text/html,application/xhtml+xml"})
    closed = Gate(KEYS, auth_enabled=True, docs_enabled=False)
    for route in ("/docs", "/docs/assets/<path:filename>", "/openapi.json", "/"):
        assert GATE.authorise("GET", route, browser, "127.0.0.1") == Decision(None)
        with pytest.raises(Unauthorized):
            closed.authorise("GET", route, browser, "127.0.0.1")


def test_without_auth_a_stranger_is_ordinary() -> None:
    """`AUTH_ENABLED=false` never makes the administrator of anybody, and a wrong key stays wrong."""
    open_gate = Gate(KEYS, auth_enabled=False, docs_enabled=True)
    assert ask(open_gate) == ANONYMOUS
    assert not ANONYMOUS.admin
    assert ask(open_gate, X_API_Key="admin-key") == ADMINISTRATOR
    with pytest.raises(Unauthorized):
        ask(open_gate, X_API_Key="wrong")


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"])
def test_the_placeholder_works_here(peer: str, host: str) -> None:
    """From a loopback peer, for a loopback host, without a forwarding header."""
    gate = Gate(SettingsKeyStore(PLACEHOLDER_KEY, {}), auth_enabled=True, docs_enabled=True)
    assert ask(gate, peer, X_API_Key=PLACEHOLDER_KEY, Host=host) == ADMINISTRATOR


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("203.0.113.7", {"Host": "localhost"}),
        ("", {"Host": "localhost"}),
        ("127.0.0.1", {"Host": "llm.example.org"}),
        ("127.0.0.1", {"Host": "localhost.example.org"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": "localhost", "X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"Host": "localhost", "X_Real_IP": "127.0.0.1"}),
    ],
)
def test_the_placeholder_works_nowhere_else(peer: str, headers: dict[str, str]) -> None:
    """Anybody knows the placeholder: elsewhere it is 403, with the reason."""
    gate = Gate(SettingsKeyStore(PLACEHOLDER_KEY, {}), auth_enabled=True, docs_enabled=True)
    with pytest.raises(Forbidden, match="API_KEY"):
        ask(gate, peer, X_API_Key=PLACEHOLDER_KEY, **headers)


def test_the_client_address_is_not_what_a_client_says() -> None:
    """`X-Forwarded-For` counts from trusted peers only; rubbish in it falls back to the peer."""
    trusted = settings_for(trusted_proxies="10.0.0.0/8,::1").trusted_proxies
    forwarded = Headers({"X-Forwarded-For": "1.2.3.4, 10.1.1.1"})
    assert client_address(forwarded, "203.0.113.7", trusted) == "203.0.113.7"
    assert client_address(forwarded, "10.0.0.9", trusted) == "1.2.3.4"
    assert client_address(forwarded, "::1", trusted) == "1.2.3.4"
    assert client_address(Headers(), "10.0.0.9", trusted) == "10.0.0.9"
    assert client_address(Headers({"X-Forwarded-For": "<script>"}), "10.0.0.9", trusted) == "10.0.0.9"
