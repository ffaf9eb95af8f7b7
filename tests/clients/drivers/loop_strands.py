"""Strands' agent; it asks for streams alone."""

from loop_steps import FUNCTIONS, HEADERS, MODEL, TASK, URL, loop
from strands import Agent, tool
from strands.models.ollama import OllamaModel


def streamed():
    model = OllamaModel(URL, model_id=MODEL, ollama_client_args={"headers": HEADERS})
    return str(Agent(model, tools=[tool(function) for function in FUNCTIONS], callback_handler=None)(TASK)).rstrip("\n")


loop(streamed=streamed)
