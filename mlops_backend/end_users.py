"""End users: the people behind one key, as its client names them. A name is for counting, and opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

# What a column has room for, in bytes of UTF-8.
LONGEST: Final = 256
# More than any header or field that names somebody has.
_MOST_READ: Final = 4096
_DIGITS: Final = 16
# Which header says it, the best first: ours, then Open WebUI's, where people change and their ids do not.
NAMING: Final = (b"x-end-user", b"x-openwebui-user-id", b"x-openwebui-user-email")
_PREFIX: Final = "hash:"
_HASH_DIGITS: Final = 32
_HASH: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{{_HASH_DIGITS}}}")
_PURPOSE: Final = b"mlops_backend: names of end users"


class EndUsers:
    """Makes of what a client says the name that is written down: the same one for the same words.

    Args:
        secret: names are hashed with it, so that nobody else can try a list of addresses; empty: they are readable.
    """

    def __init__(self, secret: str = "") -> None:
        # Slow on purpose: whoever has the ledger and guesses at a weak secret pays this for every guess.
        self._key = hashlib.scrypt(secret.encode(), salt=_PURPOSE, n=2**14, r=8, p=1, dklen=32) if secret else b""

    def named(self, said: str) -> str:
        """The name for what was said; empty where nothing was."""
        name = said[:_MOST_READ].strip()
        if not name:
            return ""
        if self._key:
            return _PREFIX + hmac.digest(self._key, name.encode("utf-8", "replace"), "sha256").hex()[:_HASH_DIGITS]
        return _shown(name)

    def meant(self, asked: str) -> str:
        """The written name of whom somebody asks for, by what the client said or by what is written."""
        return asked if self._key and _HASH.fullmatch(asked) else self.named(asked)


PLAIN: Final = EndUsers()


def of_headers(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Whom a request's headers name, in the order of precedence; empty where they name nobody."""
    found = {name: value for name, value in headers if name in NAMING}
    named = (found[name].decode("utf-8", "replace").strip() for name in NAMING if name in found)
    return next(filter(None, named), "") if found else ""


def _shown(name: str) -> str:
    """As much as there is room for and nothing that a terminal obeys; names that are cut stay different."""
    plain = "".join(mark if mark.isprintable() else "?" for mark in name)
    written = plain.encode()
    if len(written) <= LONGEST:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_DIGITS]
    return f"{written[: LONGEST - _DIGITS - 1].decode(errors='ignore')}~{digest}"
