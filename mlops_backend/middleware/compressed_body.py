"""Bodies that come compressed: `Content-Encoding: zstd`, as some SDKs send them to OpenAI's routes."""

from __future__ import annotations

import io
from typing import Final

from werkzeug.exceptions import RequestEntityTooLarge
from zstandard import ZstdDecompressor, ZstdError

from mlops_backend.errors import BadRequest

# What a frame may ask to be kept in memory while it is read; compressors ask for 8 MiB at most unless told otherwise.
_WINDOW: Final = 16 * 1024 * 1024
# Compressors make one; millions of empty ones fit into a body.
_MOST_FRAMES: Final = 16


def plain_body(data: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed by zstd; what says that it is compressed otherwise is left as it is.

    Args:
        data: what arrived.
        encoding: what `Content-Encoding` says.
        limit: how many bytes it may have in the end.

    Raises:
        BadRequest: it is not what its encoding says.
        RequestEntityTooLarge: over `limit`.
    """
    return _decompressed(data, limit) if encoding.strip().lower() == "zstd" else data


def _decompressed(data: bytes, limit: int) -> bytes:
    decompressor = ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as plain:
            decompressed: bytes = plain.read(limit + 1)
        if len(decompressed) > limit:
            raise RequestEntityTooLarge
        whole = _ends_with_its_frame(decompressor, data)
    except (ZstdError, MemoryError):
        whole = False
    if not whole:
        raise BadRequest("The body is not what its Content-Encoding says.")
    return decompressed


def _ends_with_its_frame(decompressor: ZstdDecompressor, data: bytes) -> bool:
    """Whether nothing is missing: the bounded reader takes the end of its input for the end of the text."""
    for _ in range(_MOST_FRAMES):
        if not data:
            return True
        frame = decompressor.decompressobj()
        frame.decompress(data)
        if not frame.eof:
            return False
        data = frame.unused_data
    return not data
