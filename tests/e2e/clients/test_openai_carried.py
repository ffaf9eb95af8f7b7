"""The client library `openai`, sync and async, where a model's context is pinned: it is asked by Ollama's own routes.

All that the client does before a model that generates it does here too.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.e2e.clients.clients import CALLED, MESSAGES, PARAMETERS, SENTENCE, TOOL, Caller, Faked, Live, calling
from tests.e2e.clients.openai_refusals import REFUSALS, check_refused
from tests.e2e.clients.test_openai import (
    call,
    test_chat,
    test_chat_streams,
    test_completions,
    test_responses,
    test_schema,
    test_unknown_models,
    test_usage_of_completions,
    test_usage_that_is_asked_for,
    test_vectors,
)
from tests.e2e.clients.test_openai_faked import test_stored_responses as stored
from tests.e2e.real_ollama import MODEL
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ORDINARY_KEY, serving, settings_for

__all__ = [
    "call",
    "test_chat",
    "test_chat_streams",
    "test_completions",
    "test_responses",
    "test_schema",
    "test_unknown_models",
    "test_usage_of_completions",
    "test_usage_that_is_asked_for",
    "test_vectors",
]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]
CHAT: dict[str, Any] = {"model": "llama3", "messages": MESSAGES}
RESPONSE: dict[str, Any] = {"model": "llama3", "input": SENTENCE}
FUNCTION: dict[str, Any] = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
STREAMS = {"chat.completions.create": CHAT, "completions.create": {"model": "llama3", "prompt": "Hi"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(ollama_url: str) -> AsyncIterator[Live]:
    """The service before a real Ollama, whose models have a context that is pinned."""
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        settings = settings_for(ollama_url, pin_num_ctx="*=192", pin_keep_alive="*=10m")
    async with serving(settings) as service:
        yield Live(service, MODEL, over_engine=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faked_for_module() -> AsyncIterator[Faked]:
    """The same before a fake Ollama."""
    async with FakeOllama() as fake, serving(settings_for(fake.url, idle_timeout=0.5, pin_num_ctx="*=192")) as service:
        yield Faked(fake, service)


@pytest_asyncio.fixture(loop_scope="module", params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
async def ask(request: pytest.FixtureRequest, faked: Faked) -> AsyncIterator[Caller]:
    """A client of the service before the fake."""
    client = request.param(base_url=f"{faked.service.url}/v1", api_key=ORDINARY_KEY, max_retries=0)
    async with calling(client) as ask:
        yield ask


async def test_tools_go_round(ask: Caller, faked: Faked) -> None:
    """What the client makes of a call is sent back with its result, and both arrive in Ollama's words."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    (choice,) = (await ask("chat.completions.create", **CHAT, tools=[TOOL])).choices
    (called,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.reasoning) == ("tool_calls", "It may rain.")
    assert (called.function.name, json.loads(called.function.arguments)) == ("weather", {"city": "Bern"})
    result = {"role": "tool", "tool_call_id": called.id, "content": "Sun."}
    said = [*MESSAGES, choice.message.model_dump(exclude_none=True), result]
    await ask("chat.completions.create", model="llama3", messages=said, tools=[TOOL])
    sent = faked.fake.requests[-1]
    *_, call_again, result_again = sent.json()["messages"]
    assert sent.path == "/api/chat"
    assert call_again["tool_calls"][0]["function"] == CALLED["function"]
    assert (result_again["tool_name"], result_again["content"]) == ("weather", "Sun.")


async def test_streamed_tools_and_thoughts(ask: Caller, faked: Faked) -> None:
    """They arrive in a stream as well."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    chunks = await ask("chat.completions.create", **CHAT, tools=[TOOL], stream=True)
    choices = [chunk.choices[0] for chunk in chunks]
    (called,) = [each for choice in choices for each in choice.delta.tool_calls or ()]
    assert (called.function.name, json.loads(called.function.arguments)) == ("weather", {"city": "Bern"})
    assert "".join(getattr(choice.delta, "reasoning", None) or "" for choice in choices) == "It may rain."
    assert "".join(choice.delta.content or "" for choice in choices) == "".join(DEFAULT_WORDS)
    assert choices[-1].finish_reason == "tool_calls"


async def test_tools_of_responses_go_round(ask: Caller, faked: Faked) -> None:
    """What the client makes of a response is sent back with the result of its call."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    answer = await ask("responses.create", **RESPONSE, tools=[FUNCTION])
    thought, spoken, called = answer.output
    assert (thought.summary[0].text, answer.output_text) == ("It may rain.", "".join(DEFAULT_WORDS))
    assert (called.name, json.loads(called.arguments)) == ("weather", {"city": "Bern"})
    assert answer.usage.output_tokens == len(DEFAULT_WORDS) + 3
    given = [each.model_dump(exclude_none=True) for each in (thought, spoken, called)]
    result = {"type": "function_call_output", "call_id": called.call_id, "output": "Sun."}
    asked = {"role": "user", "content": SENTENCE}
    await ask("responses.create", model="llama3", input=[asked, *given, result], tools=[FUNCTION])
    *_, call_again, result_again = faked.fake.requests[-1].json()["messages"]
    assert (call_again["thinking"], call_again["tool_calls"][0]["function"]) == ("It may rain.", CALLED["function"])
    assert (result_again["tool_name"], result_again["content"]) == ("weather", "Sun.")


async def test_stored_responses(ask: Caller, faked: Faked) -> None:
    """A response is continued, read and deleted here too."""
    await stored(ask, faked)


async def test_streamed_responses(faked: Faked) -> None:
    """The library's own reading of a stream finds nothing amiss, and comes to the whole response."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    async with (
        openai.AsyncOpenAI(
            base_url=f"{faked.service.url}/v1", api_key=ORDINARY_KEY, max_retries=0, _strict_response_validation=True
        ) as client,
        client.responses.stream(**RESPONSE, tools=[FUNCTION]) as stream,
    ):
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        response = await stream.get_final_response()
    assert "".join(deltas) == response.output_text == "".join(DEFAULT_WORDS)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE])
@pytest.mark.parametrize("method", STREAMS)
async def test_broken_streams_raise(ask: Caller, faked: Faked, method: str, mode: Mode) -> None:
    """A stream that breaks off is the library's error, never a silent end."""
    faked.fake.mode = mode
    with pytest.raises(openai.APIError) as caught:
        await ask(method, **STREAMS[method], stream=True)
    assert caught.value.message


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize(("mode", "error"), REFUSALS)
async def test_failures_have_a_status(
    ask: Caller, faked: Faked, method: str, mode: Mode, error: type[openai.APIStatusError]
) -> None:
    """What fails before the first byte is the library's error of that status, streamed or not, with a sentence."""
    faked.fake.mode = mode
    for stream in (False, True):
        await check_refused(error, ask, method, STREAMS[method], stream=stream)
