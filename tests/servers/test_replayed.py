"""What real servers answered, replayed by a fake: native answers come out equal, translated ones right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.servers.real import native, translated
from tests.servers.real.asking import CASES, Pair, asked
from tests.servers.real.differences import reason
from tests.servers.real.every import SERVERS
from tests.servers.real.kinds import Server
from tests.servers.replayed import ReplayedServer
from tests.servers.replies import FOLDER, Replies
from tests.service import serving, settings_for

FILES: Final = {path.stem: Replies.read(path.stem) for path in sorted(FOLDER.glob("*.json"))}
_OPTIONS: Final = (" tools", " thinking", " image", " unknown model", " top_p 0", " 6 stops")
# Kinds of requests whose answers stand in the files, by the names of the corpus.
NATIVE: Final = [
    f"{path}{option}{form}"
    for path, options in (
        (native.CHAT, ("", *_OPTIONS)),
        (native.COMPLETIONS, ("",)),
        (native.MESSAGES, ("",)),
        (native.RESPONSES, ("",)),
    )
    for option in options
    for form in ("", ", streamed")
] + [f"{native.CHAT} streamed with usage", f"{native.COMPLETIONS} streamed with usage", native.EMBEDDINGS, "/v1/models"]
TRANSLATED: Final = [
    f"{route}{option}{form}"
    for route in (translated.CHAT, translated.GENERATE)
    for option in (
        "", " timed", " tools", " tools, cut", " think true", " think false", " image", " unknown model",
        " options top_p 0", " options temperature 2.5", " options 6 stops, none met",
        " options num_predict over the context", " options penalties", " raw",
    )
    for form in ("", ", streamed")
] + [
    "/api/tags", "/api/ps", "/api/embed", "/api/embeddings",
    "/api/embed where there are none", f"{native.MESSAGES} where there are none",
]  # fmt: skip


def _kind(replies: Replies) -> Server:
    return next(server for server in SERVERS if server.name == replies.server)


def _asked_of(replies: Replies) -> list[str]:
    names = dict.fromkeys([*NATIVE, *TRANSLATED])
    return [name for name in names if name in CASES and CASES[name].needs <= _kind(replies).has]


ALL: Final = [
    pytest.param(name, case, id=f"{name}: {case}") for name, replies in FILES.items() for case in _asked_of(replies)
]


@pytest_asyncio.fixture(name="pairs", scope="module", loop_scope="module")
async def _pairs() -> AsyncIterator[Mapping[str, Pair]]:
    """Each server, replayed, with a service before it."""
    async with AsyncExitStack() as stack:
        outside = stack.enter_context(pytest.MonkeyPatch.context())
        for setting in Settings.model_fields:
            outside.delenv(setting.upper(), raising=False)
        pairs = {}
        for name, replies in FILES.items():
            fake = await stack.enter_async_context(ReplayedServer(replies=replies))
            kind = _kind(replies)
            settings = settings_for(openai_backends=kind.setting(fake.url))
            service = await stack.enter_async_context(serving(settings))
            pairs[name] = Pair(kind, replies.model, fake.url, service.url)
        yield pairs


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("file", "name"), ALL)
async def test_replayed_answers(pairs: Mapping[str, Pair], file: str, name: str) -> None:
    """A native answer is the server's own, a translated one is right by Ollama's rules."""
    fine, wrong = await asked(pairs[file], name)
    why = reason(FILES[file].server, name)
    assert bool(why) == bool(wrong), wrong or f"{fine}: the difference has gone: {why}"
