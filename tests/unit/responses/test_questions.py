"""What a body of `/v1/responses` says of what is stored, and the same body with what came before in it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.aside import LARGE
from mlops_backend.services.llm.dialects import folded
from mlops_backend.services.other.responses.questions import continued, read_question
from mlops_backend.services.other.responses.rows import input_items, said

ITEM: Final = {"role": "user", "content": "Hi"}
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("body", "store", "previous", "items"),
    [
        ('{"input":"Hi"}', True, "", '{"role":"user","content":"Hi"}'),
        ('{"input":""}', True, "", ""),
        ('{"input": [ {"a":1} , 2 ] }', True, "", '{"a":1} , 2'),
        ('{"store":false,"input":[]}', False, "", ""),
        ('{"store":null,"previous_response_id":null}', True, "", ""),
        ('{"Store":true,"previous_response_id":"resp_1"}', True, "resp_1", ""),
        ('{"input":7,"previous_response_id":7}', True, "", None),
    ],
)
def test_what_a_body_says(body: str, store: bool, previous: str, items: str | None) -> None:
    """As Go reads it."""
    question = read_question(body.encode())
    assert question is not None
    assert (question.store, question.previous_id) == (store, previous)
    assert question.items == (None if items is None else items.encode())


def test_no_object_says_nothing() -> None:
    """It is the backend's to refuse."""
    assert read_question(b"[1]") is None
    assert read_question(b"{") is None


def test_a_backend_is_not_to_keep_what_is_kept_here() -> None:
    """Only that word is another one, and only where it is true."""
    for before, after in ((" true ", " false "), ("false", "false"), ("null", "null"), ("1", "1")):
        question = read_question(b'{ "input": "Hi", "store":%s}' % before.encode())
        assert question is not None
        assert question.sent == b'{ "input": "Hi", "store":%s}' % after.encode()


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.lists(VALUES, max_size=3), st.booleans())
def test_a_body_that_continues_has_all_of_it(more: dict[str, Any], given: list[Any], large: bool) -> None:
    """What came before, then its own; nothing to look up, and every other member as it was."""
    own = [*given, "x" * (2 * LARGE)] if large else given
    body = {**more, "input": own, "previous_response_id": "resp_1", "store": True}
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    question = read_question(content)
    assert question is not None
    assert question.items is not None
    told = json.loads(continued(content, json.dumps(ITEM).encode(), question.items))
    expected = {name: value for name, value in body.items() if name != "previous_response_id"}
    others = {name for name in told if folded(name) not in ("input", "store", "previous_response_id")}
    assert {name: told[name] for name in others} == {name: expected[name] for name in others}
    assert (told["input"], told["store"], "previous_response_id" in told) == ([ITEM, *own], False, False)


def test_what_was_said_comes_in_its_order() -> None:
    """Each request's own items, and behind them those of its answer, without members that have no value."""
    answers = [{"output": [{"type": "message", "status": None, "id": str(number)}, "x"]} for number in range(2)]
    rows = [('{"a":1}', json.dumps(answers[0])), ("", json.dumps(answers[1])), ('{"b":2}', '{"output":null}')]
    assert json.loads(b"[" + said(rows) + b"]") == [
        {"a": 1},
        {"type": "message", "id": "0"},
        {"type": "message", "id": "1"},
        {"b": 2},
    ]


def test_items_are_listed_with_types_and_ids() -> None:
    """Those that have some keep them; what is no object is none."""
    asked = '{"role":"assistant","content":"Hi"},{"type":"reasoning","id":"rs_1"},7,{"type":"function_call"}'
    first, second, third = input_items("resp_ab", asked)
    assert first["content"] == [{"type": "output_text", "text": "Hi"}]
    assert [each["id"] for each in (first, second, third)] == ["msg_ab_0", "rs_1", "fc_ab_3"]
