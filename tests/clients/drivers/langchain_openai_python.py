"""LangChain's `langchain-openai`."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from steps import MODEL, QUESTION, RESULT, SHOWN, TOOL, URL, run


def settings(key, model=MODEL):
    return {"model": model, "base_url": f"{URL}/v1", "api_key": key, "max_retries": 0}


def chat(key, model=MODEL):
    return ChatOpenAI(**settings(key, model)).invoke(QUESTION).content


def stream(key):
    return [part.content for part in ChatOpenAI(**settings(key)).stream(QUESTION)]


def tool(key):
    bound = ChatOpenAI(**settings(key)).bind_tools([TOOL])
    answer = bound.invoke(QUESTION)
    (call,) = answer.tool_calls
    told = ToolMessage(RESULT, tool_call_id=call["id"])
    return call["name"], call["args"], bound.invoke([HumanMessage(QUESTION), answer, told]).content


def image(key):
    return ChatOpenAI(**settings(key)).invoke([HumanMessage(SHOWN)]).content


def embed(key):
    # Else it sends the numbers of OpenAI's own tokens.
    return OpenAIEmbeddings(**settings(key), check_embedding_ctx_length=False).embed_query(QUESTION)


run(chat, stream, tool, image, embed)
