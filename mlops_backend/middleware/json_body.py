"""Request bodies: strict JSON, checked before any schema sees it."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from pydantic_core import from_json
from quart import Request

from mlops_backend.errors import InvalidJSON, UnsupportedMediaType

# Only a number written with a large exponent or very many digits can overflow a float to infinity.
_MAY_OVERFLOW: Final = re.compile(rb"\d[eE]\+?\d{2}|\d{300}")
_UNSET: Final = object()


class JSONRequest(Request):
    """A request whose `get_json` is strict, and tells apart what is wrong."""

    _parsed: Any = _UNSET

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body's JSON value; parsed once.

        Raises:
            UnsupportedMediaType: a declared type that is not JSON; an undeclared one is taken for JSON.
            InvalidJSON: syntax, encoding, depth, or a number that is not finite.
            RequestEntityTooLarge: over `MAX_BODY_BYTES`.
        """
        if self._parsed is _UNSET:
            if self.mimetype and not self.is_json:
                raise UnsupportedMediaType(
                    f"The body is declared as {self.mimetype[:100]!r}; send JSON with Content-Type: application/json."
                )
            data = await self.get_data(as_text=False)
            assert isinstance(data, bytes)  # noqa: S101 - what as_text=False gives
            self._parsed = parse_json(data)
        return self._parsed

    async def close(self) -> None:
        """Let the body go: a connection to a backend remembers, as long as it lasts, the request that opened it."""
        self._parsed = _UNSET
        self.body.clear()
        await super().close()


def parse_json(data: bytes) -> Any:
    """Parse JSON text.

    Raises:
        InvalidJSON: it is not JSON text as RFC 8259 has it, nests more than 200 levels, or holds a number that
            is not finite.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidJSON(f"The body is not valid JSON: {str(error)[:200]}.") from None
    if _MAY_OVERFLOW.search(data) and not _finite(value):
        raise InvalidJSON("The body is not valid JSON: it holds a number that is not finite.")
    return value


def _finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_finite, value.values()))
        case list():
            return all(map(_finite, value))
    return True
