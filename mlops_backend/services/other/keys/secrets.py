"""What a client presents: 256 random bits, of which only the hash is kept.

A hash that is slow on purpose protects what can be guessed; these bits cannot, and each request is to cost little.
"""

from __future__ import annotations

import string
from hashlib import sha256
from secrets import choice, token_urlsafe
from typing import Final

PREFIX: Final = b"mlb_"
ID_PREFIX: Final = "key_"
_BYTES: Final = 32
_ALPHABET: Final = string.ascii_lowercase + string.digits
_ID_LENGTH: Final = 12


def new_secret() -> str:
    """A secret: `mlb_` and 43 characters."""
    return PREFIX.decode() + token_urlsafe(_BYTES)


def hash_of(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return sha256(secret).digest()


def new_id() -> str:
    """A key's public id, which tells nothing of its secret."""
    return ID_PREFIX + "".join(choice(_ALPHABET) for _ in range(_ID_LENGTH))
