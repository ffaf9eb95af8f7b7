"""The library `llm` with `llm-ollama`: its chain of tools."""

import os

import llm
from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop

os.environ["OLLAMA_HOST"] = URL
os.environ["OLLAMA_API_KEY"] = KEY


def looped(stream):
    return llm.get_model(f"ollama/{MODEL}").conversation(tools=FUNCTIONS).chain(TASK, stream=stream).text()


loop(whole=lambda: looped(False), streamed=lambda: looped(True))
