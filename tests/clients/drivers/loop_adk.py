"""Google's ADK: its agent and runner, over LiteLLM, in Ollama's dialect and in OpenAI's."""

from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types
from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop


async def looped(mode, model, base):
    agent = LlmAgent(
        name="helper",
        model=LiteLlm(model=model, api_base=base, api_key=KEY),
        instruction="Help.",
        tools=[*FUNCTIONS],
    )
    runner = InMemoryRunner(agent=agent, app_name="loop")
    session = await runner.session_service.create_session(app_name="loop", user_id="me")
    asked = types.Content(role="user", parts=[types.Part(text=TASK)])
    run = runner.run_async(
        user_id="me", session_id=session.id, new_message=asked, run_config=RunConfig(streaming_mode=mode)
    )
    told = [event async for event in run]
    return "".join(part.text or "" for part in told[-1].content.parts if not part.thought)


def in_ollamas(mode):
    return looped(mode, f"ollama_chat/{MODEL}", URL)


def in_openais(mode):
    return looped(mode, f"openai/{MODEL}", f"{URL}/v1")


loop(
    whole=lambda: in_ollamas(StreamingMode.NONE),
    streamed=lambda: in_ollamas(StreamingMode.SSE),
    whole_on_v1=lambda: in_openais(StreamingMode.NONE),
    streamed_on_v1=lambda: in_openais(StreamingMode.SSE),
)
