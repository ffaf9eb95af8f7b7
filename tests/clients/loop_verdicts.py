"""What came of a client's loop, held against what its server told it to call."""

from __future__ import annotations

from typing import Any, Final

from tests.clients.loop_catalogue import Looping
from tests.clients.loop_play import FINAL, LoopingOpenAI, Script
from tests.clients.verdicts import Cell, Verdict, shown

# What stands for the name of a tool where the client's history does not tell it.
NAMELESS: Final = "unknown_tool"


def judged_loop(client: Looping, mode: str, server: LoopingOpenAI, said: dict[str, Any] | None, complaint: str) -> Cell:
    """The verdict on one way through the loop."""
    wrong = _wrong(client.script, server, said, complaint)
    fault = client.faults.get(mode, "")
    if fault:
        return Cell(Verdict.OWN, fault) if wrong else Cell(Verdict.FAILS, f"no longer so: {fault}")
    return Cell(Verdict.FAILS, wrong) if wrong else Cell(Verdict.WORKS)


def _wrong(script: Script, server: LoopingOpenAI, said: dict[str, Any] | None, complaint: str) -> str:
    if server.refused:
        return f"refused: {server.refused[0]}"
    if said is None:
        return complaint or "the driver told nothing of it"
    if "error" in said:
        return shown(said)
    wanted = [[call.name, dict(call.arguments)] for call in script.calls]
    if _by_rounds(script, said["calls"]) != _by_rounds(script, wanted):
        return f"other calls than were sent: {said['calls']!r:.300}"
    if said["text"] != FINAL:
        return f"another text than was sent: {said['text']!r:.120}"
    return _results(script, server)


def _by_rounds(script: Script, calls: list[Any]) -> list[list[Any]]:
    """The calls of one round may run at once, and in any order."""
    told, rounds = list(calls), []
    for calls_at_once in script.rounds:
        rounds.append(sorted(told[: len(calls_at_once)], key=str))
        told = told[len(calls_at_once) :]
    return [*rounds, told]


def _results(script: Script, server: LoopingOpenAI) -> str:
    """Each result came back, whole, as the answer to its own call."""
    turns: list[dict[str, Any]] = max((body["messages"] for body in server.bodies), key=len, default=[])
    if script.in_words:
        missing = [call.name for call in script.calls if call not in script.told_in_words(turns)]
        return f"no results of {missing} came back" if missing else ""
    names = {call["id"]: call["function"]["name"] for turn in turns for call in turn.get("tool_calls") or ()}
    came = [(names[turn["tool_call_id"]], turn["content"]) for turn in turns if turn["role"] == "tool"]
    if len(came) != len(script.calls):
        return f"{len(came)} results came back, not {len(script.calls)}"
    for (name, content), call in zip(came, script.calls, strict=True):
        if call.result not in content or not name.endswith((call.name, NAMELESS)):
            return f"the result of {call.name} came back as {name}'s: {content!r:.120}"
    return ""
