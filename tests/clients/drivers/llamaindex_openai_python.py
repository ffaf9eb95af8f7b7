"""LlamaIndex's `llama-index-llms-openai-like` and `llama-index-embeddings-openai-like`."""

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from steps import MODEL, PICTURE_BYTES, QUESTION, URL, run

ASKED = [ChatMessage(role="user", content=QUESTION)]


def model(key, name=MODEL):
    kinds = {"is_chat_model": True, "is_function_calling_model": True}
    return OpenAILike(name, api_base=f"{URL}/v1", api_key=key, max_retries=0, **kinds)


def weather(city: str, days: int) -> str:
    """Tell the weather."""
    return f"{city}: {days} days of sun"


def chat(key, name=MODEL):
    return model(key, name).chat(ASKED).message.content


def stream(key):
    return [part.delta for part in model(key).stream_chat(ASKED)]


def tool(key):
    asked = model(key)
    answer = asked.chat_with_tools([FunctionTool.from_defaults(weather)], QUESTION)
    (call,) = asked.get_tool_calls_from_response(answer)
    return call.tool_name, call.tool_kwargs


def image(key):
    shown = ChatMessage(blocks=[TextBlock(text=QUESTION), ImageBlock(image=PICTURE_BYTES, image_mimetype="image/png")])
    return model(key).chat([shown]).message.content


def embed(key):
    return OpenAILikeEmbedding(MODEL, api_base=f"{URL}/v1", api_key=key, max_retries=0).get_text_embedding(QUESTION)


run(chat, stream, tool, image, embed)
