"""LangChain's `langchain-ollama`."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings
from steps import MODEL, QUESTION, RESULT, SHOWN, TOOL, URL, run


def settings(key, model=MODEL):
    return {"model": model, "base_url": URL, "client_kwargs": {"headers": {"X-API-Key": key}}}


def chat(key, model=MODEL):
    return ChatOllama(**settings(key, model)).invoke(QUESTION).content


def stream(key):
    return [part.content for part in ChatOllama(**settings(key)).stream(QUESTION)]


def tool(key):
    bound = ChatOllama(**settings(key)).bind_tools([TOOL])
    answer = bound.invoke(QUESTION)
    (call,) = answer.tool_calls
    told = ToolMessage(RESULT, tool_call_id=call["id"])
    return call["name"], call["args"], bound.invoke([HumanMessage(QUESTION), answer, told]).content


def image(key):
    return ChatOllama(**settings(key)).invoke([HumanMessage(SHOWN)]).content


def embed(key):
    return OllamaEmbeddings(**settings(key)).embed_query(QUESTION)


run(chat, stream, tool, image, embed)
