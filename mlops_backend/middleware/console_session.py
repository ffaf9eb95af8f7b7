"""A browser's session, beside the keys: where it stands in a request, and what a request that has one must carry."""

from __future__ import annotations

from typing import Final, Protocol

from werkzeug.datastructures import Headers
from werkzeug.http import parse_cookie

from mlops_backend.errors import CsrfTokenMissing, Forbidden
from mlops_backend.principal import Principal

COOKIE: Final = "mlops_console"
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser says of its own pages, and of an address that somebody typed.
_OWN: Final = frozenset({"same-origin", "none"})


class Session(Protocol):
    """Somebody who has signed in."""

    @property
    def principal(self) -> Principal:
        """Who it is, as the key is now."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key that was exchanged."""

    def knows(self, csrf_token: str) -> bool:
        """Whether that is the token which a page of ours sends."""


class Sessions(Protocol):
    """Knows sessions."""

    async def find(self, token: str) -> Session | None:
        """The session of a token, while it lasts.

        Raises:
            DatabaseDown: nobody can tell.
        """


def token_in(headers: Headers) -> str:
    """The token of the session that a request names; empty: it names none."""
    cookies = headers.get("Cookie")
    return parse_cookie(cookies).get(COOKIE, "") if cookies else ""


def refuse_forged(session: Session, method: str, headers: Headers) -> None:
    """Keep out what a page of another origin has made the browser send, which sends the cookie by itself.

    `SameSite=Strict` does not see the difference between two ports of a host, and not every browser says who asks.

    Raises:
        Forbidden: another site asks, as the browser itself says.
        CsrfTokenMissing: something would be changed, and the token of our pages is not there.
    """
    if headers.get("Sec-Fetch-Site", "none").lower() not in _OWN:
        raise Forbidden("A page of another origin cannot use this session.")
    if method not in _SAFE and not session.knows(headers.get(CSRF_HEADER, "")):
        raise CsrfTokenMissing(f"A session changes something only with its {CSRF_HEADER}.")
