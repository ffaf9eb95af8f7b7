"""LangChain's classes for Ollama, with the key in a header or in the address, through the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest
from langchain_core.messages import AIMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from tests.e2e.clients.clients import CALLED, SENTENCE, TOOL, Caller, Faked, Live
from tests.fakes.ollama import DEFAULT_WORDS, Mode
from tests.service import ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings")]
WORDS = "".join(DEFAULT_WORDS)
SHORT: Any = {"num_predict": 3, "temperature": 0, "seed": 1}
Access = Callable[[str], dict[str, Any]]


def header(url: str) -> dict[str, Any]:
    """The key in a header."""
    return {"base_url": url, "client_kwargs": {"headers": {"Authorization": f"Bearer {ORDINARY_KEY}"}}}


def userinfo(url: str) -> dict[str, Any]:
    """The key as the password in the address, which LangChain makes a header of."""
    return {"base_url": url.replace("://", f"://somebody:{ORDINARY_KEY}@")}


ACCESSES = pytest.mark.parametrize("access", [header, userinfo])


@asynccontextmanager
async def langchain(made: Any) -> AsyncIterator[Caller]:
    """A caller of one of LangChain's objects, whose clients are closed when the block ends."""
    try:
        yield Caller(made)
    finally:
        await asyncio.to_thread(made._client.close)
        await made._async_client.close()


@ACCESSES
@pytest.mark.parametrize("method", ["invoke", "ainvoke"])
async def test_chat(live: Live, access: Access, method: str) -> None:
    """A chat answers with text and with counts."""
    async with langchain(ChatOllama(model=live.model, **SHORT, **access(live.service.url))) as call:
        answer = await call(method, SENTENCE)
    assert isinstance(answer, AIMessage)
    assert answer.content
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.response_metadata["done_reason"] == "length"


@pytest.mark.parametrize("method", ["stream", "astream"])
async def test_chat_streams(live: Live, method: str) -> None:
    """A streamed chat comes in pieces, the same text."""
    async with langchain(ChatOllama(model=live.model, **SHORT, **header(live.service.url))) as call:
        pieces = await call(method, SENTENCE)
        whole = await call("invoke", SENTENCE)
    assert len(pieces) > 2
    assert "".join(piece.content for piece in pieces) == whole.content


@ACCESSES
@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
async def test_completions(live: Live, access: Access, method: str) -> None:
    """A completion has text, streamed or not."""
    async with langchain(OllamaLLM(model=live.model, **SHORT, **access(live.service.url))) as call:
        assert "".join(await call(method, SENTENCE)).strip()


@ACCESSES
async def test_vectors(live: Live, access: Access) -> None:
    """Documents and questions have vectors."""
    async with langchain(OllamaEmbeddings(model=live.model, **access(live.service.url))) as call:
        vectors = await call("embed_documents", [SENTENCE, "Because."])
        question = await call("aembed_query", SENTENCE)
    assert [len(vector) for vector in vectors] == [576, 576]
    assert question == pytest.approx(vectors[0], abs=1e-2)


async def test_models_are_checked(live: Live) -> None:
    """`validate_model_on_init` finds the model in the list."""

    def make(model: str) -> ChatOllama:
        closed = {"headers": {"Connection": "close"}}  # LangChain leaves the client open when it finds none
        return ChatOllama(model=model, validate_model_on_init=True, client_kwargs=closed, **userinfo(live.service.url))

    async with langchain(await asyncio.to_thread(make, live.model)):
        pass
    with pytest.raises(ValueError, match="not found in Ollama"):
        await asyncio.to_thread(make, "nobody")


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
async def test_tools_and_thoughts(faked: Faked, method: str) -> None:
    """`bind_tools` gives the model its tools, and its calls and thoughts come back."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    chat = ChatOllama(model="llama3", reasoning=True, **header(faked.service.url))
    async with langchain(chat):
        answer = await Caller(chat.bind_tools([TOOL]))(method, SENTENCE)
    pieces = answer if isinstance(answer, list) else [answer]
    (called,) = [each for piece in pieces for each in piece.tool_calls]
    assert (called["name"], called["args"]) == ("weather", {"city": "Bern"})
    thoughts = [piece.additional_kwargs.get("reasoning_content", "") for piece in pieces]
    assert "".join(thoughts) == "It may rain."
    assert faked.fake.requests[-1].json()["tools"][0]["function"]["name"] == "weather"
    assert faked.fake.requests[-1].header("authorization") is None


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.ERROR_MID_STREAM, Mode.NO_DONE])
@pytest.mark.parametrize("method", ["invoke", "astream"])
async def test_broken_streams_raise(faked: Faked, method: str, mode: Mode) -> None:
    """What breaks off is an error, never half an answer."""
    faked.fake.mode = mode
    async with langchain(ChatOllama(model="llama3", **header(faked.service.url))) as call:
        with pytest.raises(ollama.ResponseError):
            await call(method, SENTENCE)


async def test_strangers_are_refused(faked: Faked) -> None:
    """A key that is not known is refused in a sentence."""
    url = faked.service.url.replace("://", "://somebody:wrong@")
    async with langchain(ChatOllama(model="llama3", base_url=url)) as call:
        with pytest.raises(ollama.ResponseError, match=r"The API key is not known\.") as caught:
            await call("ainvoke", SENTENCE)
    assert caught.value.status_code == 401
    assert not faked.fake.requests
