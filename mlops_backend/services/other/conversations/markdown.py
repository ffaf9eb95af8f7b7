"""A conversation as Markdown, for people to read: what was said, as it was said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from mlops_backend.services.other.conversations.rows import Conversation, Message

RULE: Final = "\n---\n\n"
_UNTITLED: Final = "Untitled"
_SPEAKERS: Final = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>#&~|$]")
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_FENCE: Final = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)")


def pieces(conversation: Conversation, messages: Iterable[Message], images: Mapping[str, bytes]) -> Iterator[str]:
    """The text, a message at a time; replies that were replaced are left out.

    Args:
        conversation: whose title is the heading.
        messages: in their order.
        images: the bytes of what they show, by hash.
    """
    yield f"# {_line(conversation.title) or _UNTITLED}\n\n{_about(conversation)}\n"
    for message in messages:
        if message.replaced_at is None:
            yield "".join(f"\n{part}\n" for part in _parts(message, images))


def _about(conversation: Conversation) -> str:
    dates = f"Begun {_minute(conversation.created_at)}, last changed {_minute(conversation.updated_at)}"
    return f"{dates}, model {_line(conversation.model)}" if conversation.model else dates


def _parts(message: Message, images: Mapping[str, bytes]) -> Iterator[str]:
    yield f"## {_heading(message)}"
    if message.outcome not in {"", "done"}:
        yield f"*This reply was cut short: {_line(message.outcome)}.*"
    if message.thinking:
        yield _quoted(message.thinking)
    if message.content:
        yield message.content + _end_of_fence(message.content)
    for image in message.images:
        yield f"![image](data:{image.media_type};base64,{base64.b64encode(images[image.hash]).decode()})"
    if message.tool_calls:
        yield _fenced(json.dumps(message.tool_calls, ensure_ascii=False, indent=2))


def _heading(message: Message) -> str:
    speaker = _SPEAKERS[message.role]
    name = _line(message.tool_name if message.role == "tool" else message.model)
    return f"{speaker} ({name})" if name else speaker


def _line(text: str) -> str:
    """One line that means nothing but its letters."""
    words = "".join(mark if mark.isprintable() else " " for mark in text).split()
    return _MARKUP.sub(r"\\\g<0>", " ".join(words))


def _quoted(text: str) -> str:
    return "\n".join(("> **Thinking**", ">", *(f"> {line}".rstrip(" ") for line in _LINE_END.split(text))))


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}json\n{text}\n{fence}"


def _end_of_fence(text: str) -> str:
    """What ends a fence that is still open, as in a reply that was cut short: all that follows would be code, too."""
    indent = fence = ""
    for line in _LINE_END.split(text):
        if (found := _FENCE.fullmatch(line)) is None:
            continue
        if not fence:
            indent, fence = (found[1], found[2]) if "`" not in found[3] or found[2][0] == "~" else ("", "")
        elif found[2].startswith(fence) and not found[3].strip():
            fence = ""
    return f"\n{indent}{fence}" if fence else ""


def _minute(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M} UTC"
