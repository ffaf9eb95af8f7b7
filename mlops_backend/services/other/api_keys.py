"""Who a key belongs to."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    name: str
    admin: bool = False


ANONYMOUS: Final = Principal("anonymous")


class KeyStore(Protocol):
    """Knows keys."""

    def find(self, key: bytes) -> Principal | None:
        """The owner of `key`, or `None`; takes the same time for every wrong key."""


class SettingsKeyStore:
    """The keys from the environment: one administrator, any number of ordinary ones.

    Args:
        api_key: the administrator's key.
        api_keys: name -> key of the ordinary ones.
    """

    def __init__(self, api_key: str, api_keys: Mapping[str, str]) -> None:
        ordinary = [(key.encode(), Principal(name)) for name, key in api_keys.items()]
        self._known = [*ordinary, (api_key.encode(), Principal("admin", admin=True))]

    def find(self, key: bytes) -> Principal | None:
        """Compare with every key, in constant time each; the administrator's comes last and wins."""
        found = None
        for known, principal in self._known:
            if hmac.compare_digest(known, key):
                found = principal
        return found
