"""The address of a server that speaks the OpenAI API."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from mlops_backend.services.llm.backends.backend import target_of
from mlops_backend.services.llm.upstream import Target

API: Final = "/v1"
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*(/openai)?$")


def openai_target(url: str) -> Target:
    """An address down to the version at its end, and its credentials: a password without a user is a key for `Bearer`.

    `/v1` is added where there is no version; others stay as they are (`…/api/paas/v4`, `…/v1beta/openai`).
    """
    target, parts = target_of(url), urlsplit(url)
    headers = dict(target.headers)
    if parts.password and not parts.username:
        headers["Authorization"] = f"Bearer {unquote(parts.password)}"
    base = target.url.rstrip("/")
    return Target(base if _VERSION.search(base) else base + API, headers)
