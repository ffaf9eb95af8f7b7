"""Bodies: what a drop-in route was sent, read as Ollama reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.aside import LARGE, rest
from mlops_backend.errors import BadRequest, InvalidJSON
from mlops_backend.services.llm.dialects import LargeBody, check_depth, folded, members, places, value_in

_ESCAPED_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_HALF_A_PAIR: Final = re.compile("[\ud800-\udfff]")


def read_body(content: object) -> dict[str, Any]:
    """The members of a body under the names by which Go finds them; the last of several wins, `null` is not there.

    What is no text in Unicode becomes U+FFFD, as in Go.

    Raises:
        BadRequest: there is no body.
        InvalidJSON: it is no JSON object, or nests too deeply.
    """
    if isinstance(content, LargeBody):
        return {folded(name): value for name, value in content.value.items() if value is not None}
    if not isinstance(content, bytes) or not content.strip():
        raise BadRequest("missing request body")
    if len(content) > LARGE:
        return _read_large(content)
    text = content.decode(errors="replace")
    found = members(text)
    if found is None:
        raise InvalidJSON("The body is not a JSON object.")
    check_depth(content)
    body = {folded(member.name): member.value for member in found if member.value is not None}
    return _mended(body) if _ESCAPED_HALF.search(text) else body


def _read_large(content: bytes) -> dict[str, Any]:
    found = places(content)
    if found is None:
        raise InvalidJSON("The body is not a JSON object.")
    rest()
    values = {}
    for place in found:
        try:
            value = value_in(content[place.value_start : place.end])
        except ValueError:
            raise InvalidJSON("The body is not a JSON object.") from None
        if value is not None:
            values[folded(place.name)] = value
        rest()
    return values


def flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    """A switch of the body.

    Raises:
        BadRequest: it is something else.
    """
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f'the field "{name}" must be a boolean')
    return value


def named(body: Mapping[str, Any], *names: str) -> str:
    """The model that the body names, in the first of these fields that names one; an empty text for none.

    Raises:
        BadRequest: it is not a text.
    """
    for name in names or ("model",):
        value = body.get(name, "")
        if not isinstance(value, str):
            raise BadRequest(f'the field "{name}" must be a string')
        if value:
            return value
    return ""


def _mended(body: dict[str, Any]) -> dict[str, Any]:
    mended: dict[str, Any] = json.loads(_HALF_A_PAIR.sub("\ufffd", json.dumps(body, ensure_ascii=False)))
    return mended
