"""Versions of what several may change: `ETag` tells them, `If-Match` asks for them (RFC 9110, 8.8.3 and 13.1.1)."""

from __future__ import annotations

from collections.abc import Callable

from quart import request
from werkzeug.http import parse_etags


def etag(version: int) -> str:
    """The field's value."""
    return f'"{version}"'


def wanted_version() -> Callable[[int], bool]:
    """Whether a version is one that the request wants to change: each is without `If-Match`."""
    if not (lines := request.headers.getlist("If-Match")):
        return lambda version: True
    wanted = parse_etags(", ".join(lines))
    return lambda version: wanted.star_tag or wanted.contains_weak(str(version))
