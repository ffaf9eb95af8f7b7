"""The people behind a key: how they are named, and how what was said becomes a name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.end_users import LONGEST, PLAIN, EndUsers, of_headers

HASHED = EndUsers("a secret of this test")
OPEN_WEBUI = [(b"x-openwebui-user-id", b"7"), (b"x-openwebui-user-email", b"a@example.org")]


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([], ""),
        ([*OPEN_WEBUI, (b"x-end-user", b"alice")], "alice"),
        (OPEN_WEBUI, "7"),
        ([*OPEN_WEBUI, (b"x-end-user", b" ")], "7"),
        ([(b"x-openwebui-user-id", b""), OPEN_WEBUI[1]], "a@example.org"),
        ([(b"x-openwebui-user-name", b"Alice"), (b"x-openwebui-user-role", b"admin")], ""),
        ([(b"x-end-user", "Jürgen".encode())], "Jürgen"),
        ([(b"x-end-user", b"\xff")], "\ufffd"),
    ],
)
def test_one_header_counts(headers: list[tuple[bytes, bytes]], named: str) -> None:
    """Ours comes before Open WebUI's id, and that before its address; an empty one names nobody."""
    assert of_headers(headers) == named


@given(st.text(st.characters(), max_size=400))
def test_a_name_fits_its_column(said: str) -> None:
    """It has room there, nothing that a terminal obeys, and is itself when it is said again."""
    named = PLAIN.named(said)
    assert len(named.encode()) <= LONGEST
    assert named.isprintable()
    assert PLAIN.named(named) == named


def test_long_names_stay_different() -> None:
    """Those that begin alike are two, as those are that differ in what cannot be shown only when they are long."""
    first, second = PLAIN.named("é" * 300 + "1"), PLAIN.named("é" * 300 + "2")
    assert first != second
    assert first[:100] == second[:100] == "é" * 100
    assert PLAIN.named("a\x1b[2Jb\ud800") == "a?[2Jb?"


@given(st.text(st.characters(), max_size=400))
def test_a_hash_tells_nothing(said: str) -> None:
    """It is as long for every name, the same for the same one, and another one with another secret."""
    named = HASHED.named(said)
    assert re.fullmatch("hash:[0-9a-f]{32}" if said.strip() else "", named)
    assert named == HASHED.named(said)


def test_a_hash_needs_its_secret() -> None:
    """The same words and another secret make another name; the same secret makes the same, in any process."""
    assert HASHED.named("alice") == EndUsers("a secret of this test").named("alice") == HASHED.named(" alice ")
    assert EndUsers("another secret of this test").named("alice") != HASHED.named("alice")
    assert HASHED.named("alice") == "hash:64b0a785ced1692de79665408660829b"


def test_one_asks_by_either() -> None:
    """By what the client said, or by what is written; a client that says a hash is somebody else."""
    written = HASHED.named("alice")
    assert HASHED.meant("alice") == HASHED.meant(written) == written
    assert HASHED.named(written) != written
    assert PLAIN.meant(written) == written
    assert PLAIN.meant("alice") == "alice"
