"""How many tokens a conversation has, by the tokenizer of a server that tells it on a route beside OpenAI's.

vLLM makes the prompt of messages itself (`/tokenize` with `messages`, and `count` in its answer); llama.cpp's server
makes a text of them first (`/apply-template`), and tokens of that (`/tokenize` with `content`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.backends.backend import Body
from mlops_backend.services.llm.backends.ways import TOKENIZE_PATH
from mlops_backend.services.llm.dialects import parse_object
from mlops_backend.services.llm.dialects.native import MESSAGES_PATH, ROUTES
from mlops_backend.services.llm.dialects.openai import LLAMA_CPP, Model, replies, requests

_TEMPLATE_PATH: Final = "/apply-template"
_SAID: Final = ("model", "messages", "tools")
Post = Callable[[str, Mapping[str, Any]], Awaitable[bytes]]


def conversation(body: Body, model: Model) -> dict[str, Any]:
    """What is said in a body of `/v1/messages/count_tokens`, in OpenAI's words.

    Raises:
        BadRequest: what Anthropic's API or the server would refuse.
    """
    asked = ROUTES[MESSAGES_PATH]({**body, "max_tokens": 1, "stream": False}).body
    said = requests.chat_request(asked, model)
    return {name: said[name] for name in _SAID if name in said}


async def counted_tokens(said: Mapping[str, Any], owner: str, post: Post) -> int:
    """How many tokens the server makes of it.

    Args:
        said: the conversation.
        owner: what the server calls itself.
        post: asks one of the server's routes, which stand at its root.

    Raises:
        BackendNonsense: it answers something else.
        AppError: it does not answer.
    """
    if owner == LLAMA_CPP:
        prompt = parse_object(await post(_TEMPLATE_PATH, said)).get("prompt")
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        return len(replies.tokens(await post(TOKENIZE_PATH, asked)))
    count = parse_object(await post(TOKENIZE_PATH, {**said, "add_generation_prompt": True})).get("count")
    if type(count) is not int:
        raise BackendNonsense("The backend's count of tokens is not a number.")
    return count
