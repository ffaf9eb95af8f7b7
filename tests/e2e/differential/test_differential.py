"""Drop-in: whatever is asked, the service answers what the Ollama behind it answers, byte for byte.

Two headers are added to streams, which tell proxies on the way not to collect them. All else that differs is listed,
with its reason, in `differential_corpus.DIFFERENCES`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from mlops_backend.middleware.access import TABLE
from tests.e2e.differential.differential_case import Case
from tests.e2e.differential.differential_corpus import CASES, DIFFERENCES, MAX_BODY_BYTES, PLAIN
from tests.e2e.tiny_ollama import TinyOllama, tiny_ollama
from tests.e2e.wire import Answer, exchange
from tests.service import Service, serving, settings_for

# Moments, durations, ports and names made at random; what they are made of still has to be the same.
_MASKS: Final = (
    (rb'"(\w+_at)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"', rb'"\1":"MOMENT"'),
    (rb'"((?:total|load|eval|prompt_eval)_duration)":\d+', rb'"\1":0'),
    (rb'"(id|item_id)":"(chatcmpl-|cmpl-|resp_|msg_|rs_|fc_|req_)[0-9a-z]+"', rb'"\1":"\2"'),
    (rb'"(created|created_at|completed_at)":\d+', rb'"\1":0'),
    (rb":\d+->", rb":PORT->"),
)
_OWN_HEADERS: Final = frozenset({"date", "connection", "content-length", "transfer-encoding", "x-request-id", "vary"})
_STREAM_HEADERS: Final = frozenset({"x-accel-buffering", "cache-control"})
_STREAMED: Final = ("application/x-ndjson", "text/event-stream")


@dataclass(frozen=True)
class Pair:
    """A real Ollama, and the service before it."""

    ollama: TinyOllama
    service: Service

    async def ask(self, case: Case) -> tuple[Answer, Answer]:
        """What each of them answers."""
        key = [("X-API-Key", case.key)] if case.key else []
        return await self._ask(case, self.ollama.url), await self._ask(case, self.service.url, *key)

    async def _ask(self, case: Case, url: str, *added: tuple[str, str]) -> Answer:
        if case.forgets:
            self.ollama.forget_blob(case.forgets)
        for request in case.before:
            await exchange(self.ollama.url, request)
        return await exchange(url, case.request, added)


@pytest.fixture(name="ollama", scope="module")
def _ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyOllama]:
    with tiny_ollama(tmp_path_factory.mktemp("ollama")) as running:
        yield running


@pytest_asyncio.fixture(name="pair", scope="module", loop_scope="module")
async def _pair(ollama: TinyOllama) -> AsyncIterator[Pair]:
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        settings = settings_for(ollama.url, max_body_bytes=MAX_BODY_BYTES)
    async with serving(settings) as service:
        yield Pair(ollama, service)


def told(answer: Answer, method: str) -> dict[str, Any]:
    """All of an answer that a client can notice, without what differs from one moment to the next."""
    body = answer.body
    for pattern, masked in _MASKS:
        body = re.sub(pattern, masked, body)
    streamed = (answer.header("content-type") or "").startswith(_STREAMED)
    dropped = _OWN_HEADERS | (_STREAM_HEADERS if streamed else frozenset())
    length = answer.header("content-length") if method == "HEAD" else None
    return {
        "status": answer.status,
        "headers": sorted(pair for pair in answer.headers if pair[0] not in dropped),
        "frames": body.split(b"\n\n" if b"\n\n" in body else b"\n"),
        "length": length,
        "interim": answer.interim,
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_service_answers_as_ollama(pair: Pair, name: str) -> None:
    """Status, headers, framing and every byte but moments, durations and random names are Ollama's own.

    What the corpus asks in earnest is done.
    """
    direct, through = await pair.ask(CASES[name])
    assert direct.status in {200, 201} or name not in PLAIN, direct.body
    method = CASES[name].request.method
    assert told(through, method) == told(direct, method)
    assert through.streamed or not direct.streamed


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", DIFFERENCES)
async def test_service_differs_where_it_says_so(pair: Pair, name: str) -> None:
    """Each listed difference is one, and its two statuses are the listed ones."""
    difference = DIFFERENCES[name]
    direct, through = await pair.ask(difference.case)
    method = difference.case.request.method
    assert (direct.status, through.status) == (difference.theirs, difference.ours), (direct, through)
    assert told(through, method) != told(direct, method)
    assert difference.why


OURS = ("/api/llm/", "/api/other/", "/api/admin/", "/api/usage", "/api/key", "/api/database/", "/api/console/")


def test_corpus_asks_for_every_route() -> None:
    """Every drop-in route, with each of its methods, stands in the corpus or among the differences."""
    asked = [*(case.request for case in CASES.values()), *(each.case.request for each in DIFFERENCES.values())]
    for route, methods in TABLE.items():
        if not route.startswith(OURS) and route.startswith(("/api/", "/v1/")):
            pattern = re.compile(re.sub("<[^>]+>", "[^/]+", route))
            found = {request.method for request in asked if pattern.fullmatch(request.target)}
            assert set(methods) <= found, route
    assert len(CASES) > 800
