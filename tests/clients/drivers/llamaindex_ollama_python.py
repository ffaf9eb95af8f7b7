"""LlamaIndex's `llama-index-llms-ollama` and `llama-index-embeddings-ollama`."""

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from steps import MODEL, PICTURE_BYTES, QUESTION, URL, run


def model(key, name=MODEL):
    return Ollama(model=name, base_url=URL, headers={"X-API-Key": key}, request_timeout=120)


def weather(city: str, days: int) -> str:
    """Tell the weather."""
    return f"{city}: {days} days of sun"


def chat(key, name=MODEL):
    return model(key, name).complete(QUESTION).text


def stream(key):
    return [part.delta for part in model(key).stream_complete(QUESTION)]


def tool(key):
    asked = model(key)
    answer = asked.chat_with_tools([FunctionTool.from_defaults(weather)], QUESTION)
    (call,) = asked.get_tool_calls_from_response(answer)
    return call.tool_name, call.tool_kwargs


def image(key):
    shown = ChatMessage(blocks=[TextBlock(text=QUESTION), ImageBlock(image=PICTURE_BYTES, image_mimetype="image/png")])
    return model(key).chat([shown]).message.content


def embed(key):
    headers = {"headers": {"X-API-Key": key}}
    return OllamaEmbedding(MODEL, base_url=URL, client_kwargs=headers).get_text_embedding(QUESTION)


run(chat, stream, tool, image, embed)
