"""Request bodies: strict JSON, checked before any schema sees it."""

from __future__ import annotations

import math
from functools import cache
from io import BytesIO
from typing import Any, Final, cast

from pydantic_core import from_json
from quart import Request, current_app
from quart.wrappers.request import Body

from mlops_backend.aside import LARGE, aside, rest
from mlops_backend.errors import InvalidJSON, UnsupportedMediaType
from mlops_backend.json_values import check_values
from mlops_backend.middleware.asgi import Scope
from mlops_backend.middleware.body_limit import body_of

_UNSET: Final = object()
# A body that is larger is read once.
_READ_TWICE: Final = 8 * 1024 * 1024
# There it is the body of another request, too.
_SENT_ON: Final = frozenset({"/api/llm/streams"})
# A file of conversations is exported with up to 50,000 messages of fifteen members each, and is to come back.
_MORE: Final = {"/api/database/conversations/import": 5}


class _Growing:
    """Bytes as they come; what Quart keeps in a bytearray, from which they would have to be copied."""

    def __init__(self) -> None:
        self._file = BytesIO()

    def __len__(self) -> int:
        return self._file.tell()

    def __bytes__(self) -> bytes:
        return self._file.getvalue()

    def extend(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(data)

    def clear(self) -> None:
        """Let them go."""
        self._file = BytesIO()


class _HeldBody(Body):
    """Quart's body of a request, held once."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._data = _Growing()  # type: ignore[assignment]

    @property
    def is_complete(self) -> bool:
        """Whether all of it is here."""
        return self._complete.is_set()


class JSONRequest(Request):
    """A request whose `get_json` is strict, and tells apart what is wrong."""

    body_class = _HeldBody
    body: _HeldBody
    _parsed: Any = _UNSET
    _raw: bytes | None = None

    @property
    def blueprints(self) -> list[str]:
        """Names of the matched route's blueprints; Quart makes the list anew each time that it asks, three times."""
        if self.url_rule is None:
            return []
        return list(_blueprints_of(self.url_rule.endpoint))

    async def get_data(self, *args: Any, **choices: Any) -> Any:
        """The body's bytes, which are held once; see Quart's `Request.get_data`.

        Raises:
            AppError: it was refused while it came: too large, or no memory for it.
            RequestEntityTooLarge: over `MAX_BODY_BYTES`.
        """
        if self._raw is None:
            arriving = body_of(cast(Scope, self.scope))
            if arriving.refusal is not None:  # before it came: nobody waits for it
                raise arriving.refusal
            try:
                # Quart would make a task to wait for what is here.
                self._raw = await (self.body if self.body.is_complete else super().get_data(False, False, False))
            finally:
                self.body.clear()
                if arriving.refusal is not None:
                    self._raw = None
                    raise arriving.refusal from None
        return self._raw

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body's JSON value; parsed once.

        Raises:
            UnsupportedMediaType: a declared type that is not JSON; an undeclared one is taken for JSON.
            InvalidJSON: syntax, encoding, depth, a number that is not finite, or more values than there is room for.
            RequestEntityTooLarge: over `MAX_BODY_BYTES`.
        """
        if self._parsed is _UNSET:
            if self.mimetype and not self.is_json:
                raise UnsupportedMediaType(
                    f"The body is declared as {self.mimetype[:100]!r}; send JSON with Content-Type: application/json."
                )
            data = await self.get_data(as_text=False)
            assert isinstance(data, bytes)  # noqa: S101 - what as_text=False gives
            if len(data) > LARGE:
                most = current_app.config["MAX_JSON_VALUES"] * _MORE.get(self.path, 1)
                self._parsed = await aside(len(data), _parse_large, data, most)
            else:
                self._parsed = parse_json(data)
            if len(data) > _READ_TWICE and self.path not in _SENT_ON:
                self._raw = None
        return self._parsed

    def let_go(self) -> None:
        """Hold the body no longer, nor what was read of it."""
        self._parsed, self._raw = _UNSET, None
        self.body.clear()

    async def close(self) -> None:
        """Let the body go: a connection to a backend remembers, as long as it lasts, the request that opened it."""
        self.let_go()
        await super().close()


@cache
def _blueprints_of(endpoint: str) -> tuple[str, ...]:
    """The blueprint that an endpoint names, and those around it, the inmost first."""
    names = endpoint.split(".")[:-1]
    return tuple(".".join(names[:end]) for end in range(len(names), 0, -1))


def _parse_large(data: bytes, most: int) -> Any:
    check_values(data, most)
    return parse_json(data)


def parse_json(data: bytes) -> Any:
    """Parse JSON text.

    Raises:
        InvalidJSON: it is not JSON text as RFC 8259 has it, nests more than 200 levels, or holds a number that is not
            finite.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidJSON(f"The body is not valid JSON: {str(error)[:200]}.") from None
    rest()
    if not _finite(value):
        raise InvalidJSON("The body is not valid JSON: it holds a number that is not finite.")
    return value


def _finite(value: Any) -> bool:
    """Whether every number is: one with a large exponent, or very many digits, may have become infinite."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(type(inner) is str or _finite(inner) for inner in value.values())
    if kind is list:
        return all(type(inner) is str or _finite(inner) for inner in value)
    return True
