"""The services of one application, found by their class."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Services:
    """Built by `create_app`, asked by the blueprints."""

    def __init__(self) -> None:
        self._by_class: dict[type, object] = {}

    def add(self, service: T, kind: type[T] | None = None) -> T:
        """Keep `service` under its own class, or under one that it extends, and give it back."""
        self._by_class[kind or type(service)] = service
        return service

    def get(self, kind: type[T]) -> T:
        """The service of that class.

        Raises:
            KeyError: `create_app` built none.
        """
        service = self._by_class[kind]
        assert isinstance(service, kind)  # noqa: S101 - `add` files it under its own class
        return service
