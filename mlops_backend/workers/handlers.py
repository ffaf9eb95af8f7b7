"""What the other end of a channel may ask and tell, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

_ENVELOPE: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


class Handlers:
    """Functions by the name of what is asked or told; several channels may share them.

    A function gets who asks, and what with it. It answers with a value that msgpack has, at once, or is a coroutine
    function. An `AppError` that it raises is raised again where the question was put.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[Callable[[Any, Any], Any], msgspec.msgpack.Decoder[Any]]] = {}

    def on(self, name: str, function: Callable[[Any, Any], Any], kind: Any = Any) -> None:
        """Have `function` handle what goes by that name; what comes with it must be of that kind."""
        self._by_name[name] = function, msgspec.msgpack.Decoder(kind)

    def call(self, asker: object, body: bytes) -> Any:
        """What the function that is named in a message answers: a value, or a coroutine that gives one.

        Raises:
            KeyError, ValueError: nobody handles that; what came with it is not of its kind.
            AppError: the function's own.
        """
        name, payload = _ENVELOPE.decode(body)
        function, decoder = self._by_name[name]
        return function(asker, decoder.decode(payload))
