"""The address of a server that speaks the OpenAI API, and where on it the routes stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from mlops_backend.services.llm.backends.backend import target_of
from mlops_backend.services.llm.upstream import Target

API: Final = "/v1"
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*(/openai)?$")


class Places:
    """Where a server's routes may stand, and where they were found last.

    Args:
        targets: the places in the order in which they are asked; the first counts until a list was found.
    """

    def __init__(self, *targets: Target) -> None:
        self._targets = targets
        self.current = targets[0]

    @property
    def several(self) -> bool:
        """Whether the routes may stand elsewhere."""
        return len(self._targets) > 1

    def in_turn(self) -> Sequence[Target]:
        """All of them, the one that counts first."""
        return sorted(self._targets, key=lambda target: target is not self.current)

    def settle(self, target: Target) -> None:
        """A list of models was found here."""
        self.current = target

    def forget(self) -> None:
        """A list was found nowhere."""
        self.current = self._targets[0]


def openai_places(url: str, host_header: str = "", key: str = "") -> Places:
    """An address down to the version at its end, and its credentials: a password without a user is a key for `Bearer`.

    `host_header` and `key` are those of `target_of`.

    A version stays as it is (`…/api/paas/v4`, `…/v1beta/openai`); where there is none, `/v1` is asked first, and then
    what stands there: some servers have their routes at the root.
    """
    target, parts = target_of(url, host_header, key), urlsplit(url)
    headers = dict(target.headers)
    if parts.password and not parts.username:
        headers["Authorization"] = f"Bearer {unquote(parts.password)}"
    base = target.url.rstrip("/")
    if _VERSION.search(base):
        return Places(Target(base, headers))
    return Places(Target(base + API, headers), Target(base, headers))
