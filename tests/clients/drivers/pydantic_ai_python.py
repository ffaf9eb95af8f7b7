"""Pydantic AI, with its provider for Ollama."""

import asyncio

from pydantic_ai import Agent, BinaryContent, Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.providers.ollama import OllamaProvider
from steps import MODEL, PICTURE_BYTES, QUESTION, RESULT, URL, run


def provider(key):
    return OllamaProvider(base_url=f"{URL}/v1", api_key=key)


def agent(key, model=MODEL):
    return Agent(OllamaModel(model, provider=provider(key)))


def chat(key, model=MODEL):
    return agent(key, model).run_sync(QUESTION).output


def stream(key):
    async def parts():
        async with agent(key).run_stream(QUESTION) as answer:
            return [part async for part in answer.stream_text(delta=True, debounce_by=None)]

    return asyncio.run(parts())


def tool(key):
    calls, asked = [], agent(key)

    @asked.tool_plain
    def weather(city: str, days: int) -> str:
        """Tell the weather."""
        calls.append(("weather", {"city": city, "days": days}))
        return RESULT

    text = asked.run_sync(QUESTION).output
    (call,) = calls
    return *call, text


def image(key):
    return agent(key).run_sync([QUESTION, BinaryContent(PICTURE_BYTES, media_type="image/png")]).output


def embed(key):
    model = OpenAIEmbeddingModel(MODEL, provider=provider(key))
    return Embedder(model).embed_query_sync(QUESTION).embeddings[0]


run(chat, stream, tool, image, embed)
