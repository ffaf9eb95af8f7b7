"""The client library `openai`, sync and async, before a model that generates."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from tests.e2e.clients.clients import MESSAGES, SCHEMA, SENTENCE, Caller, Live, calling
from tests.service import ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]
SHORT = {"max_tokens": 3, "temperature": 0, "seed": 1}


@pytest_asyncio.fixture(loop_scope="module", params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
async def call(request: pytest.FixtureRequest, live: Live) -> AsyncIterator[Caller]:
    """A client with the ordinary key."""
    async with calling(request.param(base_url=f"{live.service.url}/v1", api_key=ORDINARY_KEY, max_retries=0)) as call:
        yield call


async def test_chat(call: Caller, live: Live) -> None:
    """A whole answer has text, a reason for its end, and usage."""
    answer = await call("chat.completions.create", model=live.model, messages=MESSAGES, **SHORT)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 3


async def test_chat_streams(call: Caller, live: Live) -> None:
    """The chunks of a stream are the whole answer's text; usage that was not asked for is nowhere."""
    asked = {"model": live.model, "messages": MESSAGES, **SHORT}
    whole = await call("chat.completions.create", **asked)
    chunks = await call("chat.completions.create", **asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["length"]
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_that_is_asked_for(call: Caller, live: Live) -> None:
    """`include_usage` gives one more chunk, without choices."""
    options = {"include_usage": True}
    asked = {"model": live.model, "messages": MESSAGES, "stream_options": options, **SHORT}
    *chunks, last = await call("chat.completions.create", **asked, stream=True)
    assert last.choices == []
    assert last.usage.completion_tokens == 3
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_schema(call: Caller, live: Live) -> None:
    """A `response_format` is kept to."""
    form = {"type": "json_schema", "json_schema": {"name": "sky", "schema": SCHEMA, "strict": True}}
    asked = {"model": live.model, "messages": MESSAGES, **SHORT, "max_tokens": 40}
    answer = await call("chat.completions.create", **asked, response_format=form)
    assert json.loads(answer.choices[0].message.content).keys() == {"blue"}


async def test_completions(call: Caller, live: Live) -> None:
    """A completion comes whole, and the same in chunks."""
    asked = {"model": live.model, "prompt": "The sky is", **SHORT}
    whole = await call("completions.create", **asked)
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 3)
    chunks = await call("completions.create", **asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_of_completions(call: Caller, live: Live) -> None:
    """`include_usage` ends a streamed completion with its counts."""
    asked = {"model": live.model, "prompt": "The sky is", "stream_options": {"include_usage": True}, **SHORT}
    *_, last = await call("completions.create", **asked, stream=True)
    assert last.choices == []
    assert last.usage.completion_tokens == 3


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["default", "float"])
async def test_vectors(call: Caller, live: Live, encoding: dict[str, str]) -> None:
    """Each text has its vector, which the library asks for in base64 unless told otherwise."""
    answer = await call("embeddings.create", model=live.model, input=[SENTENCE, "Because."], **encoding)
    assert [(item.index, len(item.embedding)) for item in answer.data] == [(0, 576), (1, 576)]
    assert isinstance(answer.data[0].embedding[0], float)
    assert answer.usage.prompt_tokens > 0


async def test_models(call: Caller, live: Live) -> None:
    """The model is listed and described."""
    assert [model.id for model in (await call("models.list")).data] == [live.model]
    assert (await call("models.retrieve", live.model)).id == live.model
    with pytest.raises(openai.NotFoundError):
        await call("models.retrieve", "nobody")


@pytest.mark.parametrize("stream", [False, True])
async def test_responses(call: Caller, live: Live, stream: bool) -> None:
    """The Responses API answers, over its own chat where an Ollama lacks it."""
    asked = {"model": live.model, "input": SENTENCE, "max_output_tokens": 16, "temperature": 0, "stream": stream}
    answer = await call("responses.create", **asked)
    response = answer[-1].response if stream else answer
    assert response.output_text
    assert response.usage.output_tokens > 0
    if stream:
        deltas = [event.delta for event in answer if event.type == "response.output_text.delta"]
        assert "".join(deltas) == response.output_text


@pytest.mark.parametrize("stream", [False, True])
async def test_unknown_models(call: Caller, stream: bool) -> None:
    """A model that is not there is not found, in a sentence."""
    with pytest.raises(openai.NotFoundError, match=r"model .nobody. not found"):
        await call("chat.completions.create", model="nobody", messages=MESSAGES, stream=stream)


async def test_unknown_keys(live: Live) -> None:
    """A key that is not known is no authentication."""
    client = openai.AsyncOpenAI(base_url=f"{live.service.url}/v1", api_key="wrong", max_retries=0)
    async with calling(client) as call:
        with pytest.raises(openai.AuthenticationError, match=r"The API key is not known\.") as caught:
            await call("models.list")
    assert caught.value.code == "unauthorized"
