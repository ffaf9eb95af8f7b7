"""The root of the tree of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class AppError(Exception):
    """The root of the tree: a sentence for the client, a status and a machine-readable code."""

    status: int = 500
    code: str = "internal_error"
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers: dict[str, str] = {**self.default_headers, **(headers or {})}
