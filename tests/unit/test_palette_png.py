"""Pictures of the console's page are made small, and stay what they were."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence

import pytest

from scripts.palette_png import SIGNATURE, chunk, chunks, paeth, pixels, smaller

WIDTH = 24


def drawn(rows: Sequence[bytes], channels: int, kinds: Sequence[int]) -> bytes:
    """A picture whose rows are filtered in these ways, as another program writes it."""
    packed = b""
    before = bytes(WIDTH * channels)
    for row, kind in zip(rows, kinds, strict=True):
        packed += bytes([kind]) + bytes(filtered(row, before, channels, kind))
        before = row
    header = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 2 if channels == 3 else 6, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed, 1)) + chunk(b"IEND", b"")


def filtered(row: bytes, before: bytes, step: int, kind: int) -> list[int]:
    """One row after its filter."""
    found = []
    for at, value in enumerate(row):
        left, corner = (row[at - step], before[at - step]) if at >= step else (0, 0)
        guess = (0, left, before[at], (left + before[at]) // 2, paeth(left, before[at], corner))[kind]
        found.append((value - guess) % 256)
    return found


def unpacked(data: bytes) -> list[list[bytes]]:
    """The pixels of a picture with a palette."""
    parts = dict(chunks(data))
    colours = [parts[b"PLTE"][at : at + 3] for at in range(0, len(parts[b"PLTE"]), 3)]
    lines = zlib.decompress(parts[b"IDAT"])
    return [
        [colours[place] for place in lines[start + 1 : start + 1 + WIDTH]] for start in range(0, len(lines), WIDTH + 1)
    ]


@pytest.mark.parametrize("channels", [3, 4])
def test_few_colours_stay_as_they_are(channels: int) -> None:
    """A picture of up to 256 colours is the same afterwards, whichever filters its rows had."""
    chance = random.Random(17)
    colours = [bytes(chance.randrange(256) for _ in range(3)) + b"\xff" * (channels - 3) for _ in range(200)]
    rows = [b"".join(chance.choices(colours, k=WIDTH)) for _ in range(20)]
    data = drawn(rows, channels, [at % 5 for at in range(20)])
    assert pixels(data)[2] == unpacked(smaller(data))
    assert pixels(data)[2][3][0] == rows[3][:3]


def test_rare_colours_take_the_nearest() -> None:
    """Of more colours than 256 the frequent ones stay, and what is rare looks nearly as before."""
    grey = [bytes([at, at, at]) for at in range(240)] + [bytes([at, at + 1, at]) for at in range(24)]
    rows = [b"".join(grey[start : start + WIDTH]) for start in range(0, len(grey), WIDTH)]
    data = drawn([*rows[:-1], *rows], 3, [0] * (2 * len(rows) - 1))
    before, after = pixels(data)[2], unpacked(smaller(data))
    assert before[: len(rows) - 1] == after[: len(rows) - 1]
    assert all(apart(*pair) <= 1 for pair in zip(before[-1], after[-1], strict=True))
    assert before[-1] != after[-1]


def apart(one: bytes, other: bytes) -> int:
    """By how much two colours differ."""
    return max(abs(mine - yours) for mine, yours in zip(one, other, strict=True))
