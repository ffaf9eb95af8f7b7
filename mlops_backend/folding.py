"""Text as it is searched: canonically equal letters are one, and case is none, whatever a database makes of them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Characters of a text that are searched: no index holds more.
SEARCHED: Final = 150_000
# An iota below a letter is one beside it where case is none; only taken apart does it come out in its place.
_IOTA: Final = re.compile("[\u0345\u1f80-\u1fff]")


def folded(text: str) -> str:
    """Composed, without case: what is equal for readers is equal here."""
    if text.isascii():
        return text.lower()
    if _IOTA.search(text):
        text = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", text.casefold())


def folding_of(content: str) -> str | None:
    """What the index is to have in the place of a text; `None` where each database folds the text itself, and alike."""
    beginning = content[:SEARCHED]
    if beginning.isascii():
        return None
    text = folded(beginning)[:SEARCHED]
    return None if text == beginning else text
