"""What somebody typed to search for, as each database's full-text index is asked, and where a text has it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from mlops_backend.errors import InvalidBody
from mlops_backend.folding import folded

# The part of a text in which a place is looked for at once.
_PIECE: Final = 512
_LONGEST_SEARCH: Final = 200
_MOST_WORDS: Final = 16
_SHORTEST_BEGINNING: Final = 3
_LONGEST_EXCERPT: Final = 160
_BEFORE: Final = 50
_PARTS: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must stand beside each other; of the last one only the beginning where `is_beginning`.

    They are folded: letters, digits and marks on letters alone: nothing of them has a meaning in a query.
    """

    words: tuple[str, ...]
    is_beginning: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Phrases that must all occur; a single word is one too."""

    phrases: tuple[Phrase, ...]

    def fts5(self) -> str:
        """As SQLite's FTS5 takes it."""
        return " AND ".join(f'"{" ".join(p.words)}"{" *" * p.is_beginning}' for p in self.phrases)

    def tsquery(self) -> str:
        """As PostgreSQL's `to_tsquery` takes it."""
        return " & ".join(
            "(" + " <-> ".join(f"'{word}'" for word in p.words) + ":*" * p.is_beginning + ")" for p in self.phrases
        )

    def pattern(self) -> re.Pattern[str]:
        """Where any of them stands in a folded text."""
        return re.compile("|".join(map(_pattern, self.phrases)))


def parsed(text: str) -> Words:
    """Read it: words, `"exact phrases"` and `begin*`.

    Raises:
        InvalidBody: it is too long, has too many words or none, or a beginning is too short.
    """
    if len(text) > _LONGEST_SEARCH:
        raise _invalid(f"must have at most {_LONGEST_SEARCH} characters")
    phrases = tuple(phrase for part in _PARTS.finditer(folded(text)) if (phrase := _phrase(part)).words)
    if not phrases:
        raise _invalid("must have a word: letters or digits")
    if sum(len(phrase.words) for phrase in phrases) > _MOST_WORDS:
        raise _invalid(f"must have at most {_MOST_WORDS} words")
    if any(phrase.is_beginning and len(phrase.words[-1]) < _SHORTEST_BEGINNING for phrase in phrases):
        raise _invalid(f"must have at least {_SHORTEST_BEGINNING} letters before a *")
    return Words(phrases)


def excerpt(content: str, words: Words) -> str:
    """Some 160 characters around the first place of a text that has one of the words, on one line."""
    place = words.pattern().search(folded(content))
    start = _start(content, _unfolded(content, place.start())) if place else 0
    end = start + _LONGEST_EXCERPT
    if end < len(content):  # not in the middle of a word, if that is not a very long one
        space = content.rfind(" ", start + _LONGEST_EXCERPT // 2, end + 1)
        end = end if space < 0 else space
    line = " ".join(content[start:end].split())
    return "…" * (start > 0) + line + "…" * (end < len(content))


def _unfolded(content: str, place: int) -> int:
    """Where in a text a place of its folded form is: letters grow and shrink when they are folded."""
    if content.isascii():
        return place
    start = 0
    while place >= (length := len(folded(content[start : start + _PIECE]))) and start + _PIECE < len(content):
        place -= length
        start += _PIECE
    piece = content[start : start + _PIECE]
    letters = range(len(piece) + 1)
    return start + bisect_right(letters, place, key=lambda count: len(folded(piece[:count]))) - 1


def _start(content: str, place: int) -> int:
    """Behind a space, if there is one before the place that is not far from it."""
    earliest = place - _BEFORE
    if earliest <= 0:
        return 0
    return content.find(" ", earliest - 1, place) + 1 or earliest


def _phrase(part: re.Match[str]) -> Phrase:
    quoted, word = part.groups()
    pieces = "".join(letter if _is_of_word(letter) else " " for letter in quoted or word or "").split()
    return Phrase(tuple(pieces), is_beginning=bool(word) and word.endswith("*"))


def _is_of_word(letter: str) -> bool:
    return letter.isalnum() or unicodedata.category(letter).startswith("M")


def _pattern(phrase: Phrase) -> str:
    return r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, phrase.words)) + r"(?![^\W_])" * (not phrase.is_beginning)


def _invalid(sentence: str) -> InvalidBody:
    wrong = {"loc": ["search"], "msg": sentence, "type": "value_error"}
    return InvalidBody("The query does not fit the schema.", [wrong])
