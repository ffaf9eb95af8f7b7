"""LlamaIndex's `llama-index-llms-openai-like` and `llama-index-embeddings-openai-like`."""

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from steps import MODEL, QUESTION, URL, run

ASKED = [ChatMessage(role="user", content=QUESTION)]


def model(key):
    kinds = {"is_chat_model": True, "is_function_calling_model": True}
    return OpenAILike(MODEL, api_base=f"{URL}/v1", api_key=key, max_retries=0, **kinds)


def weather(city: str, days: int) -> str:
    """Tell the weather."""
    return f"{city}: {days} days of sun"


def chat(key):
    return model(key).chat(ASKED).message.content


def stream(key):
    return [part.delta for part in model(key).stream_chat(ASKED)]


def tool(key):
    asked = model(key)
    answer = asked.chat_with_tools([FunctionTool.from_defaults(weather)], QUESTION)
    (call,) = asked.get_tool_calls_from_response(answer)
    return call.tool_name, call.tool_kwargs


def embed(key):
    return OpenAILikeEmbedding(MODEL, api_base=f"{URL}/v1", api_key=key, max_retries=0).get_text_embedding(QUESTION)


run(chat, stream, tool, embed)
