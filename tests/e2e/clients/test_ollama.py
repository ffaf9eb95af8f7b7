"""The client library `ollama`, sync and async, generates through the service as it would at an Ollama."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.e2e.clients.clients import MESSAGES, SCHEMA, SENTENCE, TOOL, Caller, Live, calling
from tests.service import ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]
SHORT = {"num_predict": 3, "temperature": 0, "seed": 1}


@pytest_asyncio.fixture(loop_scope="module", params=[ollama.Client, ollama.AsyncClient], ids=["sync", "async"])
async def call(request: pytest.FixtureRequest, live: Live) -> AsyncIterator[Caller]:
    """A client with the ordinary key in a header."""
    client = request.param(live.service.url, headers={"Authorization": f"Bearer {ORDINARY_KEY}"})
    async with calling(client) as call:
        yield call


def text_of(part: Any) -> str:
    """What one part of an answer says."""
    return str(part.message.content if isinstance(part, ollama.ChatResponse) else part.response)


QUESTIONS: dict[str, dict[str, Any]] = {"generate": {"prompt": SENTENCE}, "chat": {"messages": MESSAGES}}


@pytest.mark.parametrize("method", QUESTIONS)
async def test_whole_answers(call: Caller, live: Live, method: str) -> None:
    """A whole answer has text and counts."""
    answer = await call(method, model=live.model, options=SHORT, **QUESTIONS[method])
    assert text_of(answer)
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "length", 3)


@pytest.mark.parametrize("method", QUESTIONS)
async def test_streams(call: Caller, live: Live, method: str) -> None:
    """The parts of a stream are the whole answer's text; the last one alone is done and has the counts."""
    asked = {"model": live.model, "options": SHORT, **QUESTIONS[method]}
    parts = await call(method, **asked, stream=True)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(map(text_of, parts)) == text_of(await call(method, **asked))
    assert parts[-1].eval_count == 3


@pytest.mark.parametrize("method", QUESTIONS)
async def test_schema(call: Caller, live: Live, method: str) -> None:
    """An answer takes the form of a schema."""
    options = {**SHORT, "num_predict": 40}
    answer = await call(method, model=live.model, format=SCHEMA, options=options, **QUESTIONS[method])
    assert json.loads(text_of(answer)).keys() == {"blue"}


async def test_nothing_said_loads_the_model(call: Caller, live: Live) -> None:
    """A request without a prompt is answered at once."""
    assert (await call("generate", model=live.model)).done_reason == "load"


async def test_vectors(call: Caller, live: Live) -> None:
    """`embed` gives one vector a text, and the older `embeddings` gives one."""
    both = await call("embed", model=live.model, input=[SENTENCE, "Because."])
    assert [len(vector) for vector in both.embeddings] == [576, 576]
    assert len((await call("embeddings", model=live.model, prompt=SENTENCE)).embedding) == 576


async def test_models(call: Caller, live: Live) -> None:
    """`list`, `ps` and `show` name and describe the model."""
    assert [model.model for model in (await call("list")).models] == [live.model]
    await call("generate", model=live.model)
    assert [model.model for model in (await call("ps")).models] == [live.model]
    shown = await call("show", live.model)
    assert shown.details.family == "llama"
    assert "completion" in shown.capabilities


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", QUESTIONS)
async def test_unknown_models(call: Caller, method: str, stream: bool) -> None:
    """A model that is not there is refused with Ollama's sentence."""
    with pytest.raises(ollama.ResponseError, match=r"model .nobody. not found") as caught:
        await call(method, model="nobody", stream=stream, **QUESTIONS[method])
    assert caught.value.status_code == 404


async def test_tools_are_refused(call: Caller, live: Live) -> None:
    """A model without tools says so in Ollama's words."""
    with pytest.raises(ollama.ResponseError, match="does not support tools") as caught:
        await call("chat", model=live.model, messages=MESSAGES, tools=[TOOL])
    assert caught.value.status_code == 400


async def test_key_in_the_address(live: Live) -> None:
    """A host with `/k/` and the key before its routes needs no header."""
    async with calling(ollama.AsyncClient(f"{live.service.url}/k/{ORDINARY_KEY}")) as call:
        assert (await call("generate", model=live.model, prompt=SENTENCE, options=SHORT)).response
