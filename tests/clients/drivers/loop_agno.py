"""agno's agent with its model for Ollama."""

from agno.agent import Agent
from agno.models.ollama import Ollama
from loop_steps import FUNCTIONS, HEADERS, MODEL, TASK, URL, loop


def agent():
    model = Ollama(id=MODEL, host=URL, client_params={"headers": HEADERS})
    return Agent(model=model, tools=[*FUNCTIONS], telemetry=False)


def streamed():
    return "".join(part.content or "" for part in agent().run(TASK, stream=True) if part.event == "RunContent")


loop(whole=lambda: agent().run(TASK).content, streamed=streamed)
