"""LlamaIndex's `FunctionAgent` with `llama-index-llms-ollama`."""

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.ollama import Ollama
from loop_steps import FUNCTIONS, HEADERS, MODEL, TASK, URL, loop


async def looped(streaming):
    model = Ollama(model=MODEL, base_url=URL, headers=HEADERS, request_timeout=120)
    return str(await FunctionAgent(tools=[*FUNCTIONS], llm=model, streaming=streaming).run(TASK))


loop(whole=lambda: looped(False), streamed=lambda: looped(True))
