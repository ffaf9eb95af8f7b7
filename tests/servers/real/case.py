"""One case: what is asked, and what is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.e2e.wire import Answer, Request

MODEL: Final = "MODEL"
Json = Mapping[str, Any]
# Says what is wrong with an answer, or nothing.
Right = Callable[[Answer], str]
_TYPE: Final = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Case:
    """What is asked.

    Attributes:
        request: in whose body `MODEL` stands for the model's name.
        right: what the service has to answer; nothing: the same as the server.
        needs: what a server must have, in the words of `Server.has`.
        before: what the service is asked first.
    """

    request: Request
    right: Right | None = None
    needs: frozenset[str] = field(default=frozenset())
    before: tuple[Case, ...] = ()

    def asked_of(self, model: str) -> Request:
        """The request, for a server that calls its model so."""
        body = self.request.body
        if body is not None:
            body = body.replace(f'"{MODEL}"'.encode(), json.dumps(model).encode())
        return Request(self.request.method, self.request.target.replace(MODEL, model), self.request.headers, body)


def post(target: str, body: Json | bytes, right: Right | None = None, *needs: str) -> Case:
    """A POST of JSON, or of these bytes."""
    content = body if isinstance(body, bytes) else json.dumps({"model": MODEL, **body}).encode()
    return Case(
        Request("POST", target, _TYPE, content), right, frozenset(need for each in needs for need in each.split("+"))
    )


def get(target: str, right: Right | None = None, *needs: str) -> Case:
    """A GET."""
    return Case(Request("GET", target), right, frozenset(need for each in needs for need in each.split("+")))
