"""openai-agents: its agent and runner, over LiteLLM, and over chat completions of OpenAI's API."""

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from agents.extensions.models.litellm_model import LitellmModel
from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop
from openai import AsyncOpenAI

set_tracing_disabled(True)


def by_litellm():
    return agent(LitellmModel(f"ollama_chat/{MODEL}", base_url=URL, api_key=KEY))


def on_v1():
    return agent(OpenAIChatCompletionsModel(MODEL, AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY)))


def agent(model):
    return Agent("helper", instructions="Help.", model=model, tools=[function_tool(each) for each in FUNCTIONS])


async def whole(made):
    return (await Runner.run(made, TASK)).final_output


async def streamed(made):
    running = Runner.run_streamed(made, TASK)
    async for _ in running.stream_events():
        pass
    return running.final_output


loop(
    whole=lambda: whole(by_litellm()),
    streamed=lambda: streamed(by_litellm()),
    whole_on_v1=lambda: whole(on_v1()),
    streamed_on_v1=lambda: streamed(on_v1()),
)
