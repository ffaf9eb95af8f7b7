"""How much text has passed in a stream: a guess made of its bytes and of a few of its frames.

A backend should tell how many tokens its answer had. Where it does not nobody else has counted, since to look into each
frame would cost more than to pass it on. So the frames' bytes are summed up, and some chunks are kept: the first ones,
and others spread over the stream. When the count is needed after all they are read, with the last ones. What they hold
is exact. For what passed between them a line is laid through what was kept, from a frame's size to its text: where
frames have the same beside their text, their bytes tell it all; where not, the mean does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mlops_backend.services.llm.dialects.objects import Told
from mlops_backend.services.llm.dialects.said import texts_in
from mlops_backend.services.llm.dialects.usage import tokens_in

# A stream begins with frames without text, which say nothing of the others.
_FIRST: Final = 6
_MOST: Final = 30
_LARGE: Final = 4 * 1024
# A longer line is not like others: it may be all of a text, or a list of tools.
_LONG_LINE: Final = 2 * 1024


class TextSeen:
    """The text of one stream.

    Exact for one of up to 30 chunks. Of a longer one the guess is off by a tenth at most in English, and by up to a
    third where scripts are mixed, or scores of tokens and calls of tools stand amid it. What follows from it, four
    characters for a token, is coarser than that.

    Args:
        objects: reads a frame's objects.
    """

    __slots__ = ("_apart", "_bearing_apart", "_due", "_kept", "_objects", "_step", "bytes", "lines")

    def __init__(self, objects: Callable[[bytes], Iterator[Told]]) -> None:
        self._objects = objects
        self._kept: list[tuple[int, int, bytes]] = []
        self._due = self._step = 1
        self._apart = self._bearing_apart = 0
        self.bytes = self.lines = 0

    def take(self, frames: bytes) -> None:
        """Whole frames have passed."""
        size = len(frames)
        self.bytes += size
        self.lines = lines = self.lines + frames.count(b"\n")
        if size > _LARGE:
            self._take_large(frames, size)
        elif lines >= self._due:
            self._keep(frames, size)

    def tokens(self, recent: Iterable[bytes]) -> int:
        """A guess at the tokens: those of the text, or one for each frame that has text, whichever is more.

        Args:
            recent: the last chunks that were taken.
        """
        last = self._last(recent)
        pieces = {start: self._read(frames) for start, _, frames in self._kept if start not in last}
        spread = [pieces[start] for start, _, _ in self._kept[_FIRST:] if start in pieces]
        pieces |= {start: self._read(frames) for start, frames in last.items()}
        known = list(pieces.values())
        size = self.bytes - sum(piece.size for piece in known)
        lines = self.lines - sum(piece.lines for piece in known)
        characters, bearing = _like(spread or known, size, lines) if lines > 0 else (0.0, 0.0)
        characters += self._apart + sum(piece.characters for piece in known)
        bearing += self._bearing_apart + sum(piece.bearing for piece in known)
        return max(round(bearing), tokens_in(round(characters)))

    def _keep(self, frames: bytes, size: int) -> None:
        kept = self._kept
        kept.append((self.bytes - size, self.lines, frames))
        if len(kept) > _MOST:
            del kept[_FIRST + 1 :: 2]
            self._step = (self.lines - kept[_FIRST][1]) // (len(kept) - _FIRST)
        self._due = self.lines + self._step

    def _take_large(self, frames: bytes, size: int) -> None:
        if _is_long(frames):  # it may have megabytes: it is read at once, and not kept
            self.bytes -= size
            self.lines -= frames.count(b"\n")
            piece = self._read(frames)
            self._apart += piece.characters
            self._bearing_apart += piece.bearing
        elif self.lines >= self._due:
            self._keep(frames[: frames.rfind(b"\n", 0, _LARGE) + 1], size)

    def _last(self, recent: Iterable[bytes]) -> dict[int, bytes]:
        """What came last, by where it began."""
        found, start = {}, self.bytes
        for frames in reversed(list(recent)):
            if not _is_long(frames):
                start -= len(frames)
                found[start] = frames
        return found

    def _read(self, frames: bytes) -> _Piece:
        texts = [sum(map(len, texts_in(told))) for told in self._objects(frames)]
        return _Piece(len(frames), frames.count(b"\n") or 1, sum(texts), sum(map(bool, texts)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some frames; `bearing` of them have text."""

    size: int
    lines: int
    characters: int
    bearing: int


def _is_long(frames: bytes) -> bool:
    return len(frames) > _LARGE and max(map(len, frames.split(b"\n"))) > _LONG_LINE


def _like(pieces: Sequence[_Piece], size: int, lines: int) -> tuple[float, float]:
    """How many characters, in how many frames, so many bytes in so many lines have, if they are like `pieces`."""
    known = sum(piece.lines for piece in pieces)
    mean_size = sum(piece.size for piece in pieces) / known
    off = [(piece, piece.size / piece.lines - mean_size) for piece in pieces]
    varied = sum(piece.lines * each * each for piece, each in off)
    slope = sum(piece.characters * each for piece, each in off) / varied if varied else 0.0
    mean = sum(piece.characters for piece in pieces) / known
    each_line = mean + min(1.0, max(0.0, slope)) * (size / lines - mean_size)
    return max(0.0, each_line) * lines, lines * sum(piece.bearing for piece in pieces) / known
