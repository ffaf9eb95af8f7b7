"""The client library `openai`, sync and async, before a scripted backend: what models can do, and what breaks off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.e2e.clients.clients import CALLED, MESSAGES, PARAMETERS, SENTENCE, TOOL, Caller, Faked, calling
from tests.e2e.clients.openai_refusals import REFUSALS, check_refused
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ORDINARY_KEY, serving, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings", "faked")]
CHAT = {"model": "llama3", "messages": MESSAGES}
RESPONSE = {"model": "llama3", "input": SENTENCE}
WORDS = "".join(DEFAULT_WORDS)
STREAMS: dict[str, dict[str, Any]] = {
    "chat.completions.create": CHAT,
    "completions.create": {"model": "llama3", "prompt": SENTENCE},
    "responses.create": RESPONSE,
}
FUNCTION = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"]
)
async def call(request: pytest.FixtureRequest, faked_for_module: Faked) -> AsyncIterator[Caller]:
    """A client with an ordinary key."""
    client = request.param(base_url=f"{faked_for_module.service.url}/v1", api_key=ORDINARY_KEY, max_retries=0)
    async with calling(client) as call:
        yield call


async def test_key_stays_here(call: Caller, faked: Faked) -> None:
    """The backend is asked without the key."""
    await call("chat.completions.create", **CHAT)
    assert faked.fake.requests[-1].header("authorization") is None


async def test_tools_and_thoughts(call: Caller, faked: Faked) -> None:
    """A call of a tool and what was thought before it arrive whole."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    (choice,) = (await call("chat.completions.create", **CHAT, tools=[TOOL])).choices
    (called,) = choice.message.tool_calls
    assert (called.function.name, json.loads(called.function.arguments)) == ("weather", {"city": "Bern"})
    assert choice.finish_reason == "tool_calls"
    assert choice.message.reasoning == "It may rain."


async def test_streamed_tools_and_thoughts(call: Caller, faked: Faked) -> None:
    """They arrive in a stream as well."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    chunks = await call("chat.completions.create", **CHAT, tools=[TOOL], stream=True)
    choices = [chunk.choices[0] for chunk in chunks]
    (called,) = [each for choice in choices for each in choice.delta.tool_calls or ()]
    assert (called.function.name, json.loads(called.function.arguments)) == ("weather", {"city": "Bern"})
    assert "".join(getattr(choice.delta, "reasoning", None) or "" for choice in choices) == "It may rain."
    assert choices[-1].finish_reason == "tool_calls"


async def test_usage_is_asked_for_in_silence(call: Caller, faked: Faked) -> None:
    """The service asks for the usage of every stream, and keeps the chunk that a client did not want."""
    chunks = await call("chat.completions.create", **CHAT, stream=True)
    assert faked.fake.requests[-1].json()["stream_options"] == {"include_usage": True}
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    *_, last = await call("chat.completions.create", **CHAT, stream=True, stream_options={"include_usage": True})
    assert (last.choices, last.usage.completion_tokens) == ([], len(DEFAULT_WORDS))


async def test_responses(call: Caller, faked: Faked) -> None:
    """A response has its text, its calls, its thoughts and its usage."""
    assert (await call("responses.create", **RESPONSE)).output_text == WORDS
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    answer = await call("responses.create", **RESPONSE, tools=[FUNCTION])
    thought, called = answer.output
    assert thought.summary[0].text == "It may rain."
    assert (called.name, json.loads(called.arguments)) == ("weather", {"city": "Bern"})
    assert answer.usage.output_tokens == len(DEFAULT_WORDS) + 3


async def test_streamed_responses(call: Caller) -> None:
    """A streamed response begins, says its words, and ends as completed."""
    events = await call("responses.create", **RESPONSE, stream=True)
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WORDS


async def test_stored_responses(call: Caller, faked: Faked) -> None:
    """A response is continued, read and deleted."""
    first = await call("responses.create", **RESPONSE)
    events = await call("responses.create", **RESPONSE, previous_response_id=first.id, stream=True)
    second = events[-1].response
    assert (second.previous_response_id, second.output_text) == (first.id, WORDS)
    sent = faked.fake.requests[-1].json()
    assert len(sent["messages" if "messages" in sent else "input"]) == 3
    assert await call("responses.retrieve", second.id) == second
    listed = await call("responses.input_items.list", second.id)
    assert [item.content[0].text for item in listed.data] == [SENTENCE]
    await call("responses.delete", first.id)
    with pytest.raises(openai.NotFoundError):
        await call("responses.retrieve", first.id)
    with pytest.raises(openai.NotFoundError):
        await call("responses.create", **RESPONSE, previous_response_id=second.id)


@pytest.mark.parametrize("form", ["json", "text"])
async def test_transcriptions(call: Caller, faked: Faked, form: str) -> None:
    """A sound file arrives as it is, and its text comes back."""
    sound = ("sound.wav", b"RIFF" + bytes(range(256)) * 100)
    answer = await call("audio.transcriptions.create", model="llama3", file=sound, response_format=form)
    assert (answer if form == "text" else answer.text).strip() == WORDS.strip()
    assert sound[1] in faked.fake.requests[-1].body
    assert faked.fake.requests[-1].header("authorization") is None


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE])
@pytest.mark.parametrize("method", STREAMS)
async def test_broken_streams_raise(call: Caller, faked: Faked, method: str, mode: Mode) -> None:
    """A stream that breaks off is the library's error, never a silent end."""
    faked.fake.mode = mode
    with pytest.raises(openai.APIError) as caught:
        await call(method, **STREAMS[method], stream=True)
    assert caught.value.message


async def test_broken_streams_with_usage_raise(call: Caller, faked: Faked) -> None:
    """The same where the client wants the usage itself, and the stream passes as it is."""
    faked.fake.mode = Mode.CUT_MID_STREAM
    with pytest.raises(openai.APIError):
        await call("chat.completions.create", **CHAT, stream=True, stream_options={"include_usage": True})


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize(("mode", "error"), REFUSALS)
async def test_failures_have_a_status(
    call: Caller, faked: Faked, method: str, mode: Mode, error: type[openai.APIStatusError]
) -> None:
    """What fails before the first byte is the library's error of that status, streamed or not, with a sentence."""
    faked.fake.mode = mode
    for stream in (False, True):
        await check_refused(error, call, method, STREAMS[method], stream=stream)


async def test_routes_that_a_backend_lacks() -> None:
    """An Ollama that does not have the route yet answers by its own."""
    lacking = {"/v1/" + method.removesuffix(".create").replace(".", "/") for method in STREAMS}
    async with FakeOllama(lacks=lacking) as fake, serving(settings_for(fake.url)) as service:
        client = openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=ORDINARY_KEY, max_retries=0)
        async with calling(client) as call:
            assert (await call("chat.completions.create", **CHAT)).choices[0].message.content == WORDS
            assert (await call("completions.create", **STREAMS["completions.create"])).choices[0].text == WORDS
            assert (await call("responses.create", **RESPONSE)).output_text == WORDS


async def test_strangers_are_refused(faked: Faked) -> None:
    """A key that is not known gets no further than the service."""
    client = openai.AsyncOpenAI(base_url=f"{faked.service.url}/v1", api_key="wrong", max_retries=0)
    async with calling(client) as call:
        for method, asked in STREAMS.items():
            with pytest.raises(openai.AuthenticationError, match=r"The API key is not known\."):
                await call(method, **asked)
    assert not faked.fake.requests
