"""JSON as it goes over the wire: compact, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.errors import InvalidJSON

# `json.dumps` would make an encoder for each text.
_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dumped(value: Mapping[str, Any]) -> bytes:
    """An object's JSON text.

    Raises:
        InvalidJSON: it nests more deeply than this service writes.
    """
    try:
        return _compact(value).encode()
    except RecursionError:
        raise InvalidJSON("The body nests too deeply.") from None
