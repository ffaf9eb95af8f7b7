"""Semantic Kernel's agent with its connector for Ollama."""

from loop_steps import BY_NAME, HEADERS, MODEL, TASK, URL, loop
from ollama import AsyncClient
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.ollama import OllamaChatCompletion
from semantic_kernel.functions import KernelFunctionFromMethod, KernelPlugin, kernel_function

PLUGIN = KernelPlugin(
    "helper", functions=[KernelFunctionFromMethod(kernel_function(function)) for function in BY_NAME.values()]
)


def agent():
    service = OllamaChatCompletion(ai_model_id=MODEL, client=AsyncClient(URL, headers=HEADERS))
    return ChatCompletionAgent(name="helper", service=service, plugins=[PLUGIN])


async def whole():
    return str((await agent().get_response(TASK)).content)


async def streamed():
    return "".join([str(part.content) async for part in agent().invoke_stream(TASK)])


loop(whole=whole, streamed=streamed)
