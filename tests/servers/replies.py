"""What a real server answered: one file a server and version, written by `python -m tests.servers.real.record`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

OPTIONS: Final = ("image", "top_p 0", "temperature 2.5", "6 stops", "max_tokens 100000", "repetition_penalty")
# What is asked for an answer that fails in its middle.
BROKEN: Final = "And then?"
FOLDER: Final = Path(__file__).with_name("told")


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int
    kind: str
    body: bytes


@dataclass(frozen=True)
class Replies:
    """A server's answers, by the kind of request that each is for.

    Attributes:
        server: its name and version.
        model: what it calls its model.
        told: whole and streamed answers, by `kind_of`.
    """

    server: str
    model: str
    told: Mapping[str, Told]

    @classmethod
    def read(cls, name: str) -> Replies:
        """Those of a file."""
        content = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        told = {
            kind: Told(each["status"], each["type"], "".join(each["body"]).encode())
            for kind, each in content["replies"].items()
        }
        return cls(content["server"], content["model"], told)


def kind_of(method: str, path: str, body: Mapping[str, Any], model: str) -> str:
    """What a request asks for, so far as it changes the shape of the answer."""
    if method == "GET":
        return path
    form = "streamed" if body.get("stream") else "whole"
    if form == "streamed" and (body.get("stream_options") or {}).get("include_usage"):
        form = "streamed with usage"
    return f"{path} {_asks(body, model)} {form}".replace("  ", " ")


def plain_kind(kind: str) -> str:
    """The same without an option, which most servers take and some refuse."""
    return next((kind.replace(f" {option} ", " ") for option in OPTIONS if f" {option} " in kind), kind)


def _asks(body: Mapping[str, Any], model: str) -> str:
    messages = body.get("messages") or [{}]
    last = messages[-1] if isinstance(messages, list) else {}
    wants = {
        "broken": last.get("content") == BROKEN,
        "unknown model": body.get("model") != model,
        "image": isinstance(last.get("content"), list),
        "top_p 0": body.get("top_p") == 0,
        "temperature 2.5": (body.get("temperature") or 0) > 2,
        "6 stops": isinstance(body.get("stop"), list) and len(body["stop"]) > 4,
        "max_tokens 100000": (body.get("max_tokens") or 0) > 512,
        "repetition_penalty": "repetition_penalty" in body or "repeat_penalty" in body,
        "tools, cut": bool(body.get("tools")) and body.get("max_tokens") == 2,
        "tools": bool(body.get("tools")) and last.get("role") == "user",
        "thinking": bool((body.get("chat_template_kwargs") or {}).get("enable_thinking")),
        "logprobs": bool(body.get("logprobs")),
    }
    return next((name for name, wanted in wants.items() if wanted), "")
