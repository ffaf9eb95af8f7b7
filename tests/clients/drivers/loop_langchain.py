"""LangChain's `langchain-ollama`, with LangChain's tools and messages."""

from functools import reduce
from operator import add

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from loop_steps import FUNCTIONS, HEADERS, MODEL, TASK, URL, loop

TOOLS = {function.__name__: tool(function) for function in FUNCTIONS}
CHAT = ChatOllama(model=MODEL, base_url=URL, client_kwargs={"headers": HEADERS}).bind_tools([*TOOLS.values()])


def looped(asked):
    messages = [HumanMessage(TASK)]
    while True:
        said = asked(messages)
        messages.append(said)
        if not said.tool_calls:
            return said.content
        messages += [TOOLS[call["name"]].invoke(call) for call in said.tool_calls]


loop(whole=lambda: looped(CHAT.invoke), streamed=lambda: looped(lambda messages: reduce(add, CHAT.stream(messages))))
