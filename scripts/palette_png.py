"""A picture of a screen with 256 colours: less than half the bytes, and nobody sees a difference.

Reads what Chromium writes: 8 bits a channel, not interlaced. Only the standard library.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
COLOURS: Final = 256
# Bytes of a pixel, by the picture's kind of colour.
_CHANNELS: Final = {2: 3, 6: 4}

Row = Sequence[bytes]


def smaller(data: bytes) -> bytes:
    """The same picture with its 256 most frequent colours; each other pixel takes the nearest of them."""
    width, height, rows = pixels(data)
    palette = [colour for colour, _ in Counter(pixel for row in rows for pixel in row).most_common(COLOURS)]
    places = {colour: place for place, colour in enumerate(palette)}
    lines = bytearray()
    for row in rows:
        lines.append(0)
        for pixel in row:
            if pixel not in places:
                places[pixel] = nearest(pixel, palette)
            lines.append(places[pixel])
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(bytes(lines), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def pixels(data: bytes) -> tuple[int, int, list[Row]]:
    """Width, height, and the red, green and blue of each pixel, row by row; what is transparent is taken as opaque."""
    parts = list(chunks(data))
    width, height, depth, kind = struct.unpack(">IIBB", parts[0][1][:10])
    assert depth == 8, depth
    channels = _CHANNELS[kind]
    packed = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    before = bytearray(width * channels)
    rows: list[Row] = []
    for start in range(0, len(packed), width * channels + 1):
        line = bytearray(packed[start + 1 : start + 1 + width * channels])
        restore(packed[start], line, before, channels)
        rows.append([bytes(line[at : at + 3]) for at in range(0, len(line), channels)])
        before = line
    return width, height, rows


def restore(kind: int, line: bytearray, above: bytearray, step: int) -> None:
    """Undo a row's filter, in place."""
    if kind == 0:
        return
    for at in range(len(line)):
        left, corner = (line[at - step], above[at - step]) if at >= step else (0, 0)
        guess = (0, left, above[at], (left + above[at]) // 2, paeth(left, above[at], corner))[kind]
        line[at] = (line[at] + guess) & 255


def paeth(left: int, above: int, corner: int) -> int:
    """The one of three neighbours that is nearest to what they let expect."""
    expected = left + above - corner
    return min((left, above, corner), key=lambda one: abs(expected - one))


def nearest(colour: bytes, palette: Sequence[bytes]) -> int:
    """The place of the colour that differs least."""
    distances = [sum((one - other) ** 2 for one, other in zip(colour, each, strict=True)) for each in palette]
    return distances.index(min(distances))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a file: name and body."""
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += length + 12


def chunk(kind: bytes, body: bytes) -> bytes:
    """One part of a file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
