"""The answer that has nothing in it."""

from __future__ import annotations

from quart import Response


def no_content(headers: dict[str, str] | None = None) -> Response:
    """204, without the type of a body that it does not have."""
    answer = Response("", status=204, headers=headers)
    del answer.headers["Content-Type"]
    return answer
