"""Who a key belongs to."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, Protocol

from mlops_backend.principal import NO_LIMITS, Limits, Principal, Scope

ADMINISTRATOR: Final = Principal("admin", "admin", frozenset({Scope.ADMIN}))


class KeyStore(Protocol):
    """Knows keys."""

    def find(self, key: bytes) -> Principal | None:
        """The owner of `key`, or `None`; takes the same time for every wrong key.

        Raises:
            DatabaseDown: it cannot be told at present.
        """

    def find_digest(self, digest: bytes) -> Principal | None:
        """The same, by the SHA-256 of the key."""


class SettingsKeyStore:
    """The keys from the environment: one administrator, any number of ordinary ones.

    Args:
        api_key: the administrator's key.
        api_keys: name -> key of the ordinary ones.
        limits: what each of the ordinary ones may use; the administrator has no limits.
    """

    def __init__(self, api_key: str, api_keys: Mapping[str, str], limits: Limits = NO_LIMITS) -> None:
        ordinary = [
            (key.encode(), Principal(name, f"settings:{name}", limits=limits)) for name, key in api_keys.items()
        ]
        self._known = [*ordinary, (api_key.encode(), ADMINISTRATOR)]
        self._digests = [(sha256(key).digest(), principal) for key, principal in self._known]

    @property
    def principals(self) -> Mapping[str, Principal]:
        """Whose keys these are, by what limits and the ledger count by."""
        return {principal.id: principal for _, principal in self._known}

    def find(self, key: bytes) -> Principal | None:
        """Compare with every key, in constant time each; the administrator's comes last and wins."""
        return _among(self._known, key)

    def find_digest(self, digest: bytes) -> Principal | None:
        """The same, by the SHA-256 of the key."""
        return _among(self._digests, digest)


def _among(known: Sequence[tuple[bytes, Principal]], presented: bytes) -> Principal | None:
    found = None
    for each, principal in known:
        if hmac.compare_digest(each, presented):
            found = principal
    return found


class KeyStores:
    """Several stores, asked in their order; the first that knows a key has it."""

    def __init__(self, *stores: KeyStore) -> None:
        self._stores = stores

    def find(self, key: bytes) -> Principal | None:
        """The owner of `key`, or `None`.

        Raises:
            DatabaseDown: a store before which nobody knew the key cannot tell.
        """
        for store in self._stores:
            if (found := store.find(key)) is not None:
                return found
        return None

    def find_digest(self, digest: bytes) -> Principal | None:
        """The same, by the SHA-256 of the key."""
        return next((found for store in self._stores if (found := store.find_digest(digest)) is not None), None)
