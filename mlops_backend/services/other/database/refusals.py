"""A PostgreSQL that refuses the tables: what no waiting mends, in words for the operator."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

from mlops_backend.services.other.database.sqlite_file import UnusableDatabase

# Classes of SQLSTATE: a feature that is not there, data that cannot be stored, no such schema, no right or no sense.
_LASTING: Final = ("0A", "22", "3F", "42")
# A pooler's confusion about prepared statements is over with the connection.
_PASSING: Final = frozenset({"42P05"})
_WHAT_TO_DO: Final = {
    "42501": "make the role the owner of the database or of a schema in its search_path",
    "3F000": "the role's search_path names no schema that is there",
}


def refuse_refusal(error: DBAPIError) -> None:
    """Put words of ours in the place of the driver's, if the server would say the same for ever.

    Raises:
        UnusableDatabase: it would.
    """
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if not state.startswith(_LASTING) or state in _PASSING:
        return
    cause = getattr(error.orig, "__cause__", None) or error.orig
    words = str(cause).partition("\n")[0]
    hint = f"; {_WHAT_TO_DO[state]}" if state in _WHAT_TO_DO else ""
    raise UnusableDatabase(f"PostgreSQL refuses the tables: {words}{hint}") from None


def check_encoding(encoding: str) -> None:
    """See that a database can keep every text.

    Raises:
        UnusableDatabase: it cannot.
    """
    if encoding != "UTF8":
        raise UnusableDatabase(
            f"the database's encoding is {encoding}, which has not every letter: make one with"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
