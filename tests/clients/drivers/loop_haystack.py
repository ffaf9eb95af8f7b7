"""Haystack's agent with `ollama-haystack`."""

import os

from haystack.components.agents import Agent
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack_integrations.components.generators.ollama import OllamaChatGenerator
from loop_steps import BY_NAME, KEY, MODEL, PARAMETERS, TASK, URL, loop

os.environ["OLLAMA_API_KEY"] = KEY
TOOLS = [Tool(name, function.__doc__, PARAMETERS[name], function=function) for name, function in BY_NAME.items()]


def looped(**more):
    agent = Agent(chat_generator=OllamaChatGenerator(MODEL, URL), tools=TOOLS, **more)
    return agent.run([ChatMessage.from_user(TASK)])["messages"][-1].text


loop(whole=looped, streamed=lambda: looped(streaming_callback=lambda _: None))
