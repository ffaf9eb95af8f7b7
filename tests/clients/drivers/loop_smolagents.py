"""smolagents' agent over LiteLLM: it ends when its tool `final_answer` is called, and tells results in words."""

from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop
from smolagents import LiteLLMModel, ToolCallingAgent, tool


def looped(stream):
    model = LiteLLMModel(model_id=f"ollama_chat/{MODEL}", api_base=URL, api_key=KEY)
    agent = ToolCallingAgent([tool(each) for each in FUNCTIONS], model, stream_outputs=stream, verbosity_level=0)
    return agent.run(TASK)


loop(whole=lambda: looped(False), streamed=lambda: looped(True))
