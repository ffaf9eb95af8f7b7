"""The upstream client's small parts: what an error means, and where credentials go."""

from __future__ import annotations

import socket

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from mlops_backend import errors
from mlops_backend.services.llm.backends.backend import target_of
from mlops_backend.services.llm.upstream.errors import classify
from mlops_backend.telemetry.logging import mask_url

KEY = ConnectionKey("host", 1, False, True, None, None, None)


def beneath(cause: Exception) -> httpx.HTTPError:
    """How httpx-aiohttp hands these on: as a connect timeout, whatever happened."""
    error = httpx.ConnectTimeout("")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "meaning"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")), errors.BackendUnresolvable),
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), errors.BackendRefused),
        (aiohttp.ConnectionTimeoutError(), errors.ConnectTimedOut),
        (aiohttp.ServerDisconnectedError(), errors.BackendVanished),
        (aiohttp.ClientOSError(104, "reset"), errors.BackendVanished),
        (aiohttp.ClientPayloadError(), errors.BackendVanished),
        (ConnectionResetError(), errors.BackendVanished),
        (aiohttp.InvalidURL("http://"), errors.BackendNonsense),
        (RuntimeError("closed"), errors.ConnectTimedOut),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_the_transport_reports_alike_is_told_apart(cause: Exception, meaning: type[errors.AppError]) -> None:
    """The aiohttp error beneath decides; without one httpx's own class does."""
    assert type(classify(beneath(cause))) is meaning


def test_an_unknown_failure_is_a_failure() -> None:
    """What nobody foresaw is a 502, not a crash."""
    assert type(classify(httpx.ReadError(""))) is errors.BackendFailed


def test_credentials_leave_the_address() -> None:
    """User and password become a header; the address that is logged and dialled has none."""
    target = target_of("https://us%40er:p%3Aw@host:1234/base")
    assert target.url == "https://host:1234/base"
    assert target.headers == {"Authorization": "Basic dXNAZXI6cDp3"}
    assert target_of("http://host").headers == {}


def test_addresses_are_masked() -> None:
    """What stands before the last `@` of the authority is hidden."""
    assert mask_url("http://u:p@host/x@y") == "http://***@host/x@y"
    assert mask_url("http://u@e:p@host") == "http://***@host"
    assert mask_url("http://host/a@b") == "http://host/a@b"
