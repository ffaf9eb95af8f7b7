"""How messages between the parent and a worker lie in the bytes between them.

A frame is the length of its piece, the message's number and its kind, then the piece: msgpack, of which each message
is one value. A message that is too long for one frame goes in several; all but the last have `MORE` in their kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

import msgspec

from mlops_backend import errors
from mlops_backend.errors import AppError, Unavailable

ASK: Final = 1
TELL: Final = 2
ANSWER: Final = 3
REFUSAL: Final = 4
FAULT: Final = 5
MORE: Final = 0x80

PIECE: Final = 64 * 1024
MAX_MESSAGE: Final = 16 * 1024 * 1024
_HEAD: Final = Struct("!IIB")

packed: Final = msgspec.msgpack.Encoder().encode
unpacked: Final = msgspec.msgpack.Decoder().decode
_TROUBLE: Final = msgspec.msgpack.Decoder(tuple[str, str, dict[str, str]])


class ChannelError(Unavailable):
    """The other end is gone, hangs, cannot be asked or has failed."""


class Overlong(ChannelError):
    """A message is longer than `MAX_MESSAGE`."""


class Frames:
    """Puts messages together from bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts: dict[tuple[int, int], list[bytes]] = {}

    def of(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Kind, number and body of the messages that these bytes complete.

        Raises:
            Overlong: a piece or a message is longer than any may be.
        """
        data, at = self._rest + data if self._rest else data, 0
        while (body := at + _HEAD.size) <= len(data):
            size, number, kind = _HEAD.unpack_from(data, at)
            if size > PIECE:
                raise Overlong(f"A piece of {size} bytes.")
            if body + size > len(data):
                break
            at = body + size
            if (whole := self._whole(kind, number, data[body:at])) is not None:
                yield kind, number, whole
        self._rest = data[at:]

    def _whole(self, kind: int, number: int, piece: bytes) -> bytes | None:
        if kind & MORE:
            parts = self._parts.setdefault((kind & ~MORE, number), [])
            parts.append(piece)
            if len(parts) * PIECE > MAX_MESSAGE:
                raise Overlong(f"A message of more than {MAX_MESSAGE} bytes.")
            return None
        if not self._parts:
            return piece
        return b"".join([*self._parts.pop((kind, number), ()), piece])


def pieces_of(kind: int, number: int, body: bytes) -> list[bytes]:
    """The frames of a message.

    Raises:
        Overlong: it is longer than any may be.
    """
    if len(body) <= PIECE:
        return [_HEAD.pack(len(body), number, kind) + body]
    if len(body) > MAX_MESSAGE:
        raise Overlong(f"A message of {len(body)} bytes, of which {MAX_MESSAGE} are sent at most.")
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    more = [_HEAD.pack(len(piece), number, kind | MORE) + piece for piece in pieces[:-1]]
    return [*more, _HEAD.pack(len(pieces[-1]), number, kind) + pieces[-1]]


def refusal_of(error: Exception) -> bytes:
    """An error as it travels."""
    message = error.message if isinstance(error, AppError) else f"{type(error).__name__}: {error}"
    headers = error.headers if isinstance(error, AppError) else {}
    return packed((type(error).__name__, message, headers))


def error_of(kind: int, body: bytes) -> AppError:
    """What the other end raised; of a fault, which is nobody's to read but the operator's, a `ChannelError`."""
    name, message, headers = _TROUBLE.decode(body)
    made: Any = getattr(errors, name, None) if kind == REFUSAL else None
    if not (isinstance(made, type) and issubclass(made, AppError)):
        return ChannelError(message)
    error: AppError = made.__new__(made)
    AppError.__init__(error, message, headers=headers)
    return error
