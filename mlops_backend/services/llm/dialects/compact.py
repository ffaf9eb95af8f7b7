"""JSON as it goes over the wire: compact, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def dumped(value: Mapping[str, Any]) -> bytes:
    """An object's JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
