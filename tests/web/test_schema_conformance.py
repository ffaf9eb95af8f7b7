"""Generated requests: nothing that the documentation allows makes the service fail or surprise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, serving, settings_for

CASES: Final = {"POST": 100, "GET": 15, "PUT": 30, "DELETE": 15}
CASES_OF_KEYS: Final = 30
CASES_OF_CONVERSATIONS: Final = 12
# What is relayed has no schema of ours: there is little to generate from.
RELAYED_CASES: Final = 15
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The service before a fast fake, in a loop of its own: the generator of requests is not asynchronous."""
    with _running() as url:
        yield url


@pytest.mark.parametrize(("share", "least"), [(12, 120), pytest.param(1, 1000, marks=pytest.mark.long)])
def test_generated_requests(address: str, share: int, least: int) -> None:
    """1,000 generated requests over all operations: no 5xx, and nothing answered that is not documented.

    A twelfth of them in each run.
    """
    schema: Any = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    sent = 0
    for operation in operations:
        tags = set(operation.tags or ())
        ours = not {"ollama", "openai", "anthropic"} & tags
        if "keys" in tags:
            sent += send(operation, CASES_OF_KEYS // share, ADMIN_KEY)
        elif "conversations" in tags:
            sent += send(operation, CASES_OF_CONVERSATIONS // share, _key_for(operation.path))
        else:
            number = CASES[operation.method.upper()] if ours else RELAYED_CASES
            sent += send(operation, number // share, _key_for(operation.path))
    assert len(operations) >= 12
    assert sent >= least


def _key_for(path: str) -> str:
    return ADMIN_KEY if path.startswith("/api/admin/") else ORDINARY_KEY


def send(operation: Any, count: int, key: str) -> int:
    """Send up to `count` generated requests to one operation, check the answers, and say how many were sent."""
    sent = 0

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(headers={"X-API-Key": key}, checks=CHECKS, timeout=10)

    ask()
    return sent


@contextmanager
def _running() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    started: threading.Event = threading.Event()
    urls: list[str] = []
    stop = asyncio.Event()

    async def run() -> None:
        async with FakeOllama() as fake, serving(settings_for(fake.url)) as service:
            urls.append(service.url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
