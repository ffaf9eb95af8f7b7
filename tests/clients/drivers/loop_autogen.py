"""AutoGen's assistant with its client for Ollama; the key comes from the environment."""

import os

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_ext.models.ollama import OllamaChatCompletionClient
from loop_steps import FUNCTIONS, KEY, MODEL, TASK, URL, loop

os.environ["OLLAMA_API_KEY"] = KEY
KNOWN = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "unknown",
}


async def looped(stream):
    client = OllamaChatCompletionClient(model=MODEL, host=URL, model_info=KNOWN)
    agent = AssistantAgent("helper", client, tools=[*FUNCTIONS], model_client_stream=stream, max_tool_iterations=9)
    async for said in agent.run_stream(task=TASK):
        if isinstance(said, TaskResult):
            return said.messages[-1].content


loop(whole=lambda: looped(False), streamed=lambda: looped(True))
