"""LangChain's `langchain-openai`."""

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from steps import MODEL, QUESTION, TOOL, URL, run


def settings(key):
    return {"model": MODEL, "base_url": f"{URL}/v1", "api_key": key, "max_retries": 0}


def chat(key):
    return ChatOpenAI(**settings(key)).invoke(QUESTION).content


def stream(key):
    return [part.content for part in ChatOpenAI(**settings(key)).stream(QUESTION)]


def tool(key):
    (call,) = ChatOpenAI(**settings(key)).bind_tools([TOOL]).invoke(QUESTION).tool_calls
    return call["name"], call["args"]


def embed(key):
    # Else it sends the numbers of OpenAI's own tokens.
    return OpenAIEmbeddings(**settings(key), check_embedding_ctx_length=False).embed_query(QUESTION)


run(chat, stream, tool, embed)
