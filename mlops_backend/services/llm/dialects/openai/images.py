"""Images: the base64 texts of Ollama's messages, read as Go reads them."""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

from mlops_backend.aside import rest
from mlops_backend.errors import BadRequest

_DIGITS: Final = re.compile(r"[A-Za-z0-9+/\r\n]*")
_BREAKS: Final = re.compile(r"[\r\n]*")
_KINDS: Final = {"/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}


def image_parts(images: Any) -> list[dict[str, Any]]:
    """Images as parts of an OpenAI message.

    Raises:
        BadRequest: they are no list of base64 texts; the byte is named as Ollama names it. A data URI is none.
    """
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise BadRequest('the field "images" must be an array of base64 texts')
    return [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in images]


def _data_uri(image: str) -> str:
    rest()
    plain = image.replace("\r", "").replace("\n", "") if "\n" in image or "\r" in image else image
    try:
        binascii.a2b_base64(plain, strict_mode=True)
    except ValueError:
        if (wrong := wrong_byte(image)) is not None:
            raise BadRequest(f"illegal base64 data at input byte {wrong}") from None
    kind = next((kind for start, kind in _KINDS.items() if plain.startswith(start)), "image/png")
    return f"data:{kind};base64,{plain}"


def wrong_byte(text: str) -> int | None:
    """Where Go's `base64.StdEncoding` stops reading, or `None` for a text that it takes."""
    end = _end(_DIGITS, text, 0)
    digits = end - text.count("\r", 0, end) - text.count("\n", 0, end)
    if end == len(text):
        return end - digits % 4 if digits % 4 else None
    if text[end] != "=" or digits % 4 < 2:
        return end
    behind = _end(_BREAKS, text, end + 1)
    if digits % 4 == 2:
        if behind == len(text):
            return behind
        if text[behind] != "=":
            return behind - 1
        behind = _end(_BREAKS, text, behind + 1)
    return None if behind == len(text) else behind


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None  # noqa: S101 - it matches nothing as well
    return found.end()
