"""What the cases have in common: a question, a tool, a schema, a picture."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.fakes.tiny_transformer import CALL

QUESTION: Final[list[dict[str, Any]]] = [{"role": "user", "content": "Why?"}]
TOOLS: Final[list[dict[str, Any]]] = [
    {
        "type": "function",
        "function": {
            "name": CALL["name"],
            "description": "Tells the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
# The grammar leaves the model one choice; without it, it says something else.
SCHEMA: Final = {"type": "string", "enum": ["yes"]}
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE: Final = f"data:image/png;base64,{PIXEL}"


def called(ident: str) -> dict[str, Any]:
    """A call of the tool as OpenAI's API has it."""
    function = {"name": CALL["name"], "arguments": json.dumps(CALL["arguments"])}
    return {"id": ident, "type": "function", "function": function}


def one_tool() -> dict[str, Any]:
    """The choice of the tool, and of no other."""
    return {"type": "function", "function": {"name": CALL["name"]}}
