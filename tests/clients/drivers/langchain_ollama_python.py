"""LangChain's `langchain-ollama`."""

from langchain_ollama import ChatOllama, OllamaEmbeddings
from steps import MODEL, QUESTION, TOOL, URL, run


def settings(key):
    return {"model": MODEL, "base_url": URL, "client_kwargs": {"headers": {"X-API-Key": key}}}


def chat(key):
    return ChatOllama(**settings(key)).invoke(QUESTION).content


def stream(key):
    return [part.content for part in ChatOllama(**settings(key)).stream(QUESTION)]


def tool(key):
    (call,) = ChatOllama(**settings(key)).bind_tools([TOOL]).invoke(QUESTION).tool_calls
    return call["name"], call["args"]


def embed(key):
    return OllamaEmbeddings(**settings(key)).embed_query(QUESTION)


run(chat, stream, tool, embed)
