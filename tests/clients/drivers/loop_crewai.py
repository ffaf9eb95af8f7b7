"""CrewAI's agent over LiteLLM: CrewAI asks it whether a model takes tools, and tells it no address for that."""

import os

from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop

# So LiteLLM asks `/api/show` of the address, and with the key, that it finds here.
os.environ |= {"OLLAMA_API_BASE": URL, "OLLAMA_API_KEY": KEY}
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

import litellm
from crewai import LLM, Agent
from crewai.tools import tool

TAKES_TOOLS = {"litellm_provider": "openai", "mode": "chat", "supports_function_calling": True}


def looped(stream, model, by_litellm=True, **more):
    llm = LLM(model=model, is_litellm=by_litellm, stream=stream, **more)
    tools = [tool(function.__name__)(function) for function in FUNCTIONS]
    agent = Agent(role="helper", goal="Help.", backstory="It helps.", llm=llm, tools=tools, verbose=False)
    return agent.kickoff(TASK).raw


def in_ollamas(stream):
    return looped(stream, f"ollama_chat/{MODEL}")


def in_openais(stream):
    litellm.register_model({f"openai/{MODEL}": TAKES_TOOLS})
    return looped(stream, f"openai/{MODEL}", base_url=f"{URL}/v1", api_key=KEY)


def by_its_own(stream):
    return looped(stream, f"ollama/{MODEL}", by_litellm=False, base_url=URL, api_key=KEY)


loop(
    whole=lambda: in_ollamas(False),
    streamed=lambda: in_ollamas(True),
    whole_on_v1=lambda: in_openais(False),
    streamed_on_v1=lambda: in_openais(True),
    whole_without_litellm=lambda: by_its_own(False),
    streamed_without_litellm=lambda: by_its_own(True),
)
