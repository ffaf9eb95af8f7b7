"""Microsoft's agent framework with its client for Ollama."""

from agent_framework import Agent
from agent_framework.ollama import OllamaChatClient
from loop_steps import FUNCTIONS, HEADERS, MODEL, TASK, URL, loop
from ollama import AsyncClient


def agent():
    client = OllamaChatClient(model=MODEL, client=AsyncClient(URL, headers=HEADERS))
    return Agent(client, tools=[*FUNCTIONS])


async def whole():
    return (await agent().run(TASK)).text


async def streamed():
    return "".join([part.text async for part in agent().run(TASK, stream=True)])


loop(whole=whole, streamed=streamed)
