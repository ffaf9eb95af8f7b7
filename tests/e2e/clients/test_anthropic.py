"""The client library `anthropic`, sync and async, through the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from tests.e2e.clients.clients import CALLED, MESSAGES, PARAMETERS, Caller, Faked, Live, calling
from tests.fakes.ollama import DEFAULT_WORDS, Mode
from tests.service import ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]
CLIENTS = pytest.mark.parametrize("client", [anthropic.Anthropic, anthropic.AsyncAnthropic], ids=["sync", "async"])
WORDS = "".join(DEFAULT_WORDS)
ASKED: dict[str, Any] = {"model": "llama3", "max_tokens": 50, "messages": MESSAGES}
TOOLS: Any = [{"name": "weather", "description": "Tell the weather.", "input_schema": PARAMETERS}]
KEYS = {"api_key": {"api_key": ORDINARY_KEY}, "auth_token": {"auth_token": ORDINARY_KEY}}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[anthropic.Anthropic, anthropic.AsyncAnthropic], ids=["sync", "async"]
)
async def call(request: pytest.FixtureRequest, faked_for_module: Faked) -> AsyncIterator[Caller]:
    """A client of the service before a fake, with an ordinary key."""
    async with calling(
        request.param(base_url=faked_for_module.service.url, api_key=ORDINARY_KEY, max_retries=0)
    ) as call:
        yield call


@CLIENTS
@pytest.mark.parametrize("stream", [False, True])
async def test_messages_of_a_model(live: Live, client: Any, stream: bool) -> None:
    """A model answers, whole and in events; an Ollama that lacks the route does by its own chat."""
    asked = {**ASKED, "model": live.model, "max_tokens": 3, "system": "Be brief.", "stream": stream}
    async with calling(client(base_url=live.service.url, api_key=ORDINARY_KEY, max_retries=0)) as call:
        answer = await call("messages.create", **asked)
    if stream:
        assert (answer[0].type, answer[-1].type) == ("message_start", "message_stop")
        (ended,) = [event for event in answer if event.type == "message_delta"]
        assert (ended.delta.stop_reason, ended.usage.output_tokens) == ("max_tokens", 3)
        assert "".join(event.delta.text for event in answer if event.type == "content_block_delta")
    else:
        assert answer.content[0].text
        assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)


@CLIENTS
async def test_tokens_of_a_model(live: Live, client: Any) -> None:
    """Tokens are counted by a backend that can, and estimated where it cannot."""
    async with calling(client(base_url=live.service.url, api_key=ORDINARY_KEY, max_retries=0)) as call:
        counted = await call("messages.count_tokens", model=live.model, messages=MESSAGES)
        assert 5 <= counted.input_tokens <= 50
        raw = await call("messages.with_raw_response.count_tokens", model=live.model, messages=MESSAGES)
    assert raw.headers.get("x-token-count") == (None if live.over_engine else "estimated")


async def test_unknown_models(live: Live) -> None:
    """A model that is not there is not found."""
    client = anthropic.AsyncAnthropic(base_url=live.service.url, api_key=ORDINARY_KEY, max_retries=0)
    async with calling(client) as call:
        with pytest.raises(anthropic.NotFoundError, match=r"model .nobody. not found"):
            await call("messages.create", **{**ASKED, "model": "nobody"})


async def test_tools_and_thoughts(call: Caller, faked: Faked) -> None:
    """Thoughts, text and the use of a tool are blocks of their own."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = await call("messages.create", **{**ASKED, "max_tokens": 2000}, tools=TOOLS, thinking=thinking)
    thought, said, used = answer.content
    assert (thought.thinking, said.text) == ("It may rain.", WORDS)
    assert (used.name, used.input, answer.stop_reason) == ("weather", {"city": "Bern"}, "tool_use")
    assert faked.fake.requests[-1].header("anthropic-version")
    assert faked.fake.requests[-1].header("authorization") is None


async def test_streams_with_tools(faked: Faked) -> None:
    """The library puts a message together from the events of a stream."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    client = anthropic.AsyncAnthropic(base_url=faked.service.url, auth_token=ORDINARY_KEY, max_retries=0)
    async with client, client.messages.stream(**ASKED, tools=TOOLS) as stream:
        assert "".join([text async for text in stream.text_stream]) == WORDS
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.usage.output_tokens == len(DEFAULT_WORDS) + 3


@pytest.mark.usefixtures("faked")
async def test_sync_streams(call: Caller) -> None:
    """`messages.stream` gives the text, with the sync library in its thread."""
    if isinstance(call.client, anthropic.AsyncAnthropic):
        async with call.client.messages.stream(**ASKED) as stream:
            assert await stream.get_final_text() == WORDS
        return

    def read() -> str:
        with call.client.messages.stream(**ASKED) as stream:
            return "".join(stream.text_stream)

    assert await Caller(read)("__call__") == WORDS


@pytest.mark.parametrize("credential", KEYS)
@CLIENTS
async def test_keys(faked: Faked, client: Any, credential: str) -> None:
    """A key is taken however the library sends it."""
    async with calling(client(base_url=faked.service.url, max_retries=0, **KEYS[credential])) as call:
        assert (await call("messages.create", **ASKED)).content[0].text == WORDS


@CLIENTS
async def test_strangers_are_refused(faked: Faked, client: Any) -> None:
    """A key that is not known is no authentication, in Anthropic's own shape."""
    async with calling(client(base_url=faked.service.url, api_key="wrong", max_retries=0)) as call:
        for stream in (False, True):
            with pytest.raises(anthropic.AuthenticationError, match=r"The API key is not known\.") as caught:
                await call("messages.create", **ASKED, stream=stream)
            assert isinstance(caught.value.body, dict)
            assert caught.value.body["error"]["type"] == "authentication_error"
    assert not faked.fake.requests


@pytest.mark.usefixtures("faked")
async def test_tokens_are_estimated(call: Caller) -> None:
    """Where the backend has no route for it, the count is an estimate of about four characters a token."""
    messages = [{"role": "user", "content": "word " * 400}]
    counted = await call("messages.count_tokens", model="llama3", messages=messages)
    assert 450 <= counted.input_tokens <= 550


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE])
async def test_broken_streams_raise(call: Caller, faked: Faked, mode: Mode) -> None:
    """A stream that breaks off is the library's error, never a silent end."""
    faked.fake.mode = mode
    with pytest.raises(anthropic.APIError) as caught:
        await call("messages.create", **ASKED, stream=True)
    assert caught.value.message


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        (Mode.ERROR_500, anthropic.InternalServerError),
        (Mode.BUSY_503, anthropic.APIStatusError),
        (Mode.CLOSE_BEFORE_HEADERS, anthropic.InternalServerError),
        (Mode.NOT_FOUND_MODEL, anthropic.NotFoundError),
    ],
)
async def test_failures_have_a_status(
    call: Caller, faked: Faked, mode: Mode, error: type[anthropic.APIStatusError]
) -> None:
    """What fails before the first byte is the library's error of that status, streamed or not."""
    faked.fake.mode = mode
    for stream in (False, True):
        with pytest.raises(error) as caught:
            await call("messages.create", **ASKED, stream=stream)
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["error"]["message"]
