"""The server of the loops refuses what breaks one of OpenAI's rules, and takes what holds them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clients.loop_play import CHAT, FINAL, LAST, LoopingOpenAI, Script
from tests.clients.rules import broken

USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}


def calls(*ids: str, **more: Any) -> dict[str, Any]:
    """An assistant's turn that calls."""
    made = [{"id": told, "type": "function", "function": {"name": "f", "arguments": "{}"}} for told in ids]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(told: str, content: Any = "rain") -> dict[str, Any]:
    """A tool's answer."""
    return {"role": "tool", "tool_call_id": told, "content": content}


def with_parameters(**parameters: Any) -> dict[str, Any]:
    """A request with one tool."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    return {"messages": [USER], "tools": [tool]}


ONE, TWO = "a1B2c3D4e", "b1B2c3D4e"
HOLDS = [USER, calls(ONE, TWO), result(TWO), result(ONE), {"role": "user", "content": [IMAGE]}]
BROKEN: dict[str, list[dict[str, Any]]] = {
    "is an assistant's behind an assistant's": [{"role": "assistant", "content": "a"}] * 2,
    "are not answered before message 2": [USER, calls(ONE), USER],
    "are never answered": [USER, calls(ONE, TWO), result(ONE)],
    "answers no call before it": [USER, calls(ONE), result(TWO)],
    "is not new": [calls(ONE), result(ONE), calls(ONE), result(ONE)],
    "has one id twice": [calls(ONE, ONE), result(ONE), result(ONE)],
    "is not nine letters and digits": [calls("call_1"), result("call_1")],
    "has an image, and is not a user's": [calls(ONE), result(ONE, [IMAGE])],
    "has an empty text part": [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    "has no content": [{"role": "assistant", "content": None}],
    "has no use for tool_calls": [{"role": "assistant", "content": "a", "tool_calls": []}],
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "are no object": {"properties": {}},
    "required is None": {"type": "object", "properties": {"a": {"type": "object", "required": None}}},
    "None is no type": {"type": "object", "properties": {"a": {"anyOf": [{"type": None}]}}},
}


def test_what_holds_the_rules_is_taken() -> None:
    """Results of one turn in any order, a picture of a user's, a schema within a schema."""
    held = with_parameters(type="object", properties={"a": {"type": ["string", "null"]}}, additionalProperties=False)
    assert broken(held | {"messages": HOLDS}) == ""


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_rule_is_told(reason: str) -> None:
    """Each by its sentence."""
    assert reason in broken({"messages": BROKEN[reason]})


@pytest.mark.parametrize("reason", SCHEMAS)
def test_a_schema_without_types_is_told(reason: str) -> None:
    """At whatever depth."""
    assert reason in broken(with_parameters(**SCHEMAS[reason]))


async def test_the_server_leads_through_the_loop() -> None:
    """Each round when the results of the one before are here; then the words; what breaks a rule is 400."""
    turns: list[dict[str, Any]] = [USER]
    async with LoopingOpenAI() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        said: dict[str, Any] = {}
        for _ in range(4):
            answer = await client.post(CHAT, json={**with_parameters(type="object"), "messages": turns})
            said = answer.json()["choices"][0]["message"]
            turns.append(said)
            by_id = {call.id: call.result for call in Script().calls}
            turns += [result(call["id"], by_id[call["id"]]) for call in said.get("tool_calls", ())]
        assert said["content"] == FINAL
        assert len(turns) == 9
        refused = await client.post(CHAT, json={"messages": BROKEN["has no content"]})
        assert refused.status_code == 400
        assert server.refused == ["message 0 has no content"]


async def test_results_in_words_and_a_last_tool() -> None:
    """A client that tells all in words is led on by what the user's messages say, and ends by its own tool."""
    tools = [{"type": "function", "function": {"name": LAST.name, "parameters": {"type": "object"}}}]
    turns: list[dict[str, Any]] = [USER]
    told: list[list[str]] = []
    script = Script(in_words=True)
    async with (
        LoopingOpenAI(script=script) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        for calls in (*script.rounds, (LAST,)):
            answer = await client.post(CHAT, json={"tools": tools, "messages": turns})
            told.append([call["function"]["name"] for call in answer.json()["choices"][0]["message"]["tool_calls"]])
            turns.append({"role": "assistant", "content": "I called them."})
            turns.append({"role": "user", "content": "\n".join(call.result for call in calls)})
    assert told == [["lookup"], ["lookup", "clock"], ["keep"], [LAST.name]]
