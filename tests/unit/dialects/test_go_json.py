"""Reading a body as Go does: whatever a backend may execute was seen."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.asked import CREATE, GENERATE, OPENAI_GENERATE, PULL, Asked, Task, read_asked
from mlops_backend.services.llm.dialects.go_json import bytes_of, folded, last_of, members, text_of, values_in

SPELLINGS = ["model", "Model", "MODEL", "mODEL", "name", "NAME", "stream", "\u017ftream", "prompt", "mod\u00e9l"]
NAMES = st.sampled_from(SPELLINGS)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["a", "b", "library/llama3", "x:cloud", ""]), st.none(), st.booleans(), st.integers(), st.floats()
)
PAIRS = st.lists(st.tuples(NAMES, VALUES))
SPACE = st.text(" \t\r\n", max_size=3)


def body_of(pairs: list[tuple[str, Any]], space: str = "") -> bytes:
    """An object with its members in order, repeated ones too."""
    inner = f"{space},{space}".join(f"{json.dumps(name)}{space}:{space}{json.dumps(value)}" for name, value in pairs)
    return f"{space}{{{space}{inner}{space}}}{space}".encode()


def read(body: bytes, task: Task = GENERATE) -> Asked:
    """What is read of a body."""
    return read_asked(task, "POST", "/api/generate", (), body)


def go_model(pairs: list[tuple[str, Any]]) -> Any:
    """A little reference: what Go's decoder leaves in a struct's field `model`."""
    kept: Any = None
    for name, value in pairs:
        if name.lower() == "model" and value is not None:
            kept = value
    return kept


@given(PAIRS, SPACE, st.sampled_from([b"", b"trailing", b"}", b"\x00"]))
def test_the_model_is_the_one_that_go_reads(pairs: list[tuple[str, Any]], space: str, behind: bytes) -> None:
    """The last of several, in any case, `null` being nothing; what follows the object is ignored."""
    asked, wanted = read(body_of(pairs, space) + behind), go_model(pairs)
    assert asked.model == (wanted if isinstance(wanted, str) else "")


@given(PAIRS)
def test_all_values_are_those_that_are_read_one_by_one(pairs: list[tuple[str, Any]]) -> None:
    """Of every name."""
    found = members(text_of(body_of(pairs))) or []
    given = values_in(found)
    assert {name: json.dumps(value) for name, value in given.items()} == {
        name: json.dumps(value) for name in map(folded, SPELLINGS) if (value := last_of(found, name)) is not None
    }


@given(PAIRS)
def test_every_model_that_anybody_could_read_is_checked(pairs: list[tuple[str, Any]]) -> None:
    """Go takes the last spelling, Python and JavaScript the one spelt exactly so: all of them are in `models`."""
    body = body_of(pairs)
    for read_by_others in (go_model(pairs), json.loads(body).get("model")):
        if isinstance(read_by_others, str) and read_by_others:
            assert read_by_others in read(body).models


@given(PAIRS, SPACE)
def test_the_bytes_stay(pairs: list[tuple[str, Any]], space: str) -> None:
    """Nothing of a body is changed but the white space at its end."""
    body = body_of(pairs, space)
    assert read(body).content == body.rstrip()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model"',
        b'{"model":',
        b'{"model":}',
        b'{"model":"a"',
        b'{"model":"a",}',
        b'{model:"a"}',
        b'["model","a"]',
        b"null",
        b'"model"',
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"a\n"}',
        b'{"model":01}',
        b'{"model":"a"\x0b}',
        '{"model":"a"}'.encode("utf-16"),
    ],
)
def test_what_go_cannot_read_is_sent_on_as_it_is(body: bytes) -> None:
    """The backend refuses it in its own words; no model is taken from it."""
    asked = read(body)
    assert (asked.model, asked.models) == ("", ())
    assert (asked.content or b"") == body.rstrip(b" \t\r\n")


@pytest.mark.parametrize(
    "odd",
    ["1" * 5000, "1e400", "-0", "NaN", r'"\ud800"', '"\x7f"', "[" * 200 + "]" * 200, '{"model":"inner"}'],
)
def test_what_go_can_read_is_read(odd: str) -> None:
    """Numbers of any size, lone surrogates and nested objects do not hide the model."""
    assert read(f'{{"x":{odd},"model":"a"}}'.encode()).models == ("a",)


def test_bytes_that_are_not_utf8_are_kept() -> None:
    """Go puts a replacement in; the name cannot be one that anybody allowed."""
    body = b'{"model":"a\xff","prompt":"\xfe"}'
    assert bytes_of(text_of(body)) == body
    assert read(body).models == ("a\udcff",)


def test_a_body_of_too_many_things_is_refused() -> None:
    """It would be read for seconds, while nothing else is served."""
    for count in (1001, 100_001):
        with pytest.raises(InvalidJSON, match="too many"):
            read(b"{" + b'"":0,' * count + b'"":0}')
    assert read(b'{"images":["' + b"x" * 5_000_000 + b'"],"model":"a"}').models == ("a",)


def test_a_body_that_nests_too_deeply_is_refused() -> None:
    """Go reads ten thousand levels; what cannot be read here must not be sent, and how much can depends on Python."""
    try:
        assert read(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"model":"hidden:cloud"}').models == ("hidden:cloud",)
    except InvalidJSON:
        assert sys.version_info < (3, 13)
    with pytest.raises(InvalidJSON):
        read(b'{"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b',"model":"hidden:cloud"}')


def test_go_folds_two_letters_more_than_ascii() -> None:
    """U+017F is an s and U+212A a k to Go; no other character is an ASCII letter."""
    found = [chr(code) for code in range(128, 0x11000) if folded(chr(code)).isascii()]
    assert found == ["\u017f", "\u212a"]
    assert last_of(members('{"\u017ftream":false}') or (), "stream") is False


def test_names_and_sources_are_models_too() -> None:
    """`name` is what older clients send; `create` reads `from`."""
    assert read(b'{"name":"a","model":"b"}', PULL).models == ("a", "b")
    assert read(b'{"name":"a","model":"b"}', PULL).model == "b"
    assert read(b'{"name":"a","model":""}', PULL).model == "a"
    assert read(b'{"model":"mine","from":"x:cloud"}', CREATE).models == ("mine", "x:cloud")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("", '{"stream_options":{"include_usage":true},"model":"m","stream":true,"n":1.50}'),
        ('"stream_options":null,', '{"stream_options":{"include_usage":true},"model":"m","stream":true,"n":1.50}'),
        (
            '"stream_options":{"a":1.0},',
            '{"stream_options":{"a":1.0,"include_usage":true},"model":"m","stream":true,"n":1.50}',
        ),
        (
            '"stream_options":{"include_usage":false},',
            '{"stream_options":{"include_usage":true},"model":"m","stream":true,"n":1.50}',
        ),
    ],
)
def test_the_usage_of_a_stream_is_asked_for(options: str, sent: str) -> None:
    """Once, where the client did not; every other byte stays."""
    body = f'{{{options}"model":"m","stream":true,"n":1.50}}'.encode()
    assert read(body, OPENAI_GENERATE).content == sent.encode()
    assert read(sent.encode(), OPENAI_GENERATE).content == sent.encode()


@pytest.mark.parametrize("body", [b'{"model":"m"}', b'{"stream":false}', b'{"stream":true,"stream_options":7}'])
def test_the_usage_is_asked_for_in_streams_only(body: bytes) -> None:
    """A whole answer tells it anyway; what no backend would take is left to be refused."""
    assert read(body, OPENAI_GENERATE).content == body
