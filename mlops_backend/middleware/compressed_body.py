"""Bodies that come compressed: `Content-Encoding: zstd`, as some SDKs send them to OpenAI's routes."""

from __future__ import annotations

import io
from typing import Final

from werkzeug.exceptions import RequestEntityTooLarge
from zstandard import ZstdDecompressor, ZstdError

from mlops_backend.errors import BadRequest, UnsupportedMediaType

# What a frame may ask to be kept in memory while it is read; compressors ask for 8 MiB at most unless told otherwise.
_WINDOW: Final = 16 * 1024 * 1024


def plain_body(data: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed.

    Args:
        data: what arrived.
        encoding: what `Content-Encoding` says.
        limit: how many bytes it may have in the end.

    Raises:
        UnsupportedMediaType: another encoding.
        BadRequest: it is not what its encoding says.
        RequestEntityTooLarge: over `limit`.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return data
        case "zstd":
            return _decompressed(data, limit)
    raise UnsupportedMediaType("A compressed body must be compressed by zstd.")


def _decompressed(data: bytes, limit: int) -> bytes:
    decompressor = ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as plain:
            decompressed: bytes = plain.read(limit + 1)
    except (ZstdError, MemoryError):
        raise BadRequest("The body is not what its Content-Encoding says.") from None
    if len(decompressed) > limit:
        raise RequestEntityTooLarge
    return decompressed
