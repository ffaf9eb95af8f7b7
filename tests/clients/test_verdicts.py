"""The verdicts on clients: what differs from what was sent is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.catalogue import CLIENTS, Agent, Client, Sight, Wire
from tests.clients.environments import Packages
from tests.clients.play import (
    ARGUMENTS,
    NOTE,
    NOTE_FILE,
    PICTURE,
    PICTURE_FILE,
    RESULT,
    SENTENCE,
    TOOL,
    UNKNOWN,
    Play,
)
from tests.clients.sent import Answer, Kept
from tests.clients.stages import Behind, Stage
from tests.clients.verdicts import NO_IMAGES, NO_TOOLS, Cell, Verdict, cell_of, judged, steps_of, way_of
from tests.fakes.http11 import Request

LIBRARY = Client("library", "library.py", Packages(("library==1.0",)), Wire.OLLAMA, "`key`")
AGENT = replace(LIBRARY, agent=Agent("read", {"file": "{file}"}))
CALL = {"name": TOOL, "arguments": dict(ARGUMENTS)}


def stage(behind: Behind = Behind.OLLAMA, *answers: Answer, bodies: tuple[dict[str, Any], ...] = ()) -> Stage:
    """A service that gave these answers; before a fake that was sent these bodies."""
    play = None if behind is Behind.ENGINE else Play(bodies=list(bodies))
    return Stage(behind, "http://127.0.0.1:1", "model", "limited", "brief", Kept(None, list(answers)), play)


@pytest.mark.parametrize(
    ("step", "said", "why"),
    [
        ("chat", {"text": SENTENCE}, ""),
        ("chat", {"text": SENTENCE[:-1]}, "another text than was sent"),
        ("chat", {"text": " "}, "no text"),
        ("chat", {"error": "Odd", "status": 500, "message": "Oh."}, "Odd 500: Oh."),
        ("stream", {"text": SENTENCE, "parts": 8}, ""),
        ("stream", {"text": SENTENCE, "parts": 1}, "one piece"),
        ("tools", CALL, ""),
        ("tools", CALL | {"arguments": ARGUMENTS | {"days": "3"}}, "another call than was sent"),
        ("tools", CALL | {"name": "other"}, "another call than was sent"),
        ("tools", CALL | {"text": SENTENCE}, "the call's result did not arrive"),
        ("image", {"text": SENTENCE}, "the image did not arrive"),
        ("embeddings", {"length": 8}, ""),
        ("embeddings", {"length": 7}, "a vector of 7 numbers, not 8"),
        ("error", {"error": "NotFoundError", "status": 404, "message": ""}, ""),
        ("error", {"error": "ValidationError", "status": 404, "message": ""}, "not NotFoundError"),
        ("error", {"error": "NotFoundError", "status": 500, "message": "Oh."}, "neither 404 nor our words"),
        ("error", {"text": SENTENCE}, "no error"),
        ("wrong key", {"error": "Denied", "status": 401, "message": ""}, ""),
        ("wrong key", {"error": "Denied", "status": None, "message": "The API key is not known."}, ""),
        ("wrong key", {"error": "Denied", "status": 500, "message": "Oh."}, "neither 401 nor our words"),
        ("wrong key", {"text": ""}, "no error"),
        ("limit", {"text": "", "parts": 0}, "no error"),
        ("chat", None, "told nothing"),
    ],
)
def test_a_library(step: str, said: dict[str, Any] | None, why: str) -> None:
    """A step works when it has to, and else the reason is named."""
    cell = judged(replace(LIBRARY, raises="NotFoundError"), stage(), step, said)
    assert cell.verdict is (Verdict.FAILS if why else Verdict.WORKS)
    assert why in cell.why


def test_the_engines_words_are_those_that_it_sent() -> None:
    """The embedded engine's text is compared with the service's own answers."""
    before = stage(Behind.ENGINE, Answer("/api/chat", 200, b'{"message":{"content":"Blue."}}'))
    assert judged(LIBRARY, before, "chat", {"text": "Blue."}).verdict is Verdict.WORKS
    assert judged(LIBRARY, before, "chat", {"text": "Blue"}).verdict is Verdict.FAILS


def test_what_a_backend_lacks_is_refused() -> None:
    """A right refusal is no failure; another error, or an answer, is."""
    before = stage(Behind.ENGINE)
    right = {"error": "Odd", "status": 400, "message": "smollm2:135m does not support tools"}
    assert judged(LIBRARY, before, "tools", right).why == NO_TOOLS
    assert judged(LIBRARY, before, "tools", right | {"status": 500, "message": ""}).verdict is Verdict.FAILS
    assert judged(LIBRARY, before, "tools", CALL).verdict is Verdict.FAILS
    blind = {"error": "Failed", "status": None, "message": "it said 400 Bad Request"}
    assert judged(LIBRARY, before, "image", blind) == Cell(Verdict.REFUSED, NO_IMAGES)


def test_what_a_client_sends_has_to_arrive() -> None:
    """A picture, and the result of a call, are looked for in what the backend was sent; the words behind them count."""
    shown = stage(bodies=({"images": [PICTURE]},))
    made_anew = stage(bodies=({"image_url": "data:image/jpeg;base64,/9j/AAAA"},))
    for before in (shown, made_anew):
        assert judged(LIBRARY, before, "image", {"text": SENTENCE}).verdict is Verdict.WORKS
    answered = stage(bodies=({"messages": [{"role": "tool", "content": RESULT}]},))
    assert judged(LIBRARY, answered, "tools", CALL | {"text": SENTENCE}).verdict is Verdict.WORKS
    assert judged(LIBRARY, answered, "tools", CALL | {"text": ""}).verdict is Verdict.FAILS


def test_a_cell_tells_which_way_the_answers_came() -> None:
    """It is read off the answers to what the step asks, and is kept with the verdict."""
    over = "/v1/messages -> /api/chat"
    plain = Answer("/v1/messages", 200, translated=over, asked=b'{"messages":[]}')
    tools = Answer("/v1/messages", 200, translated=over, asked=b'{"tools":[{"name":"weather"}]}')
    unknown = Answer("/v1/messages", 404, asked=UNKNOWN.encode())
    before = stage(Behind.OLLAMA, plain, tools, unknown, Answer("/v1/embeddings", 200))
    said: dict[str, dict[str, Any]] = {
        "chat": {"text": SENTENCE},
        "tools": CALL,
        "error": {"error": "Odd", "status": 404, "message": ""},
        "embeddings": {"length": 8},
        "wrong key": {"error": "Denied", "status": 401, "message": ""},
    }
    ways = {step: judged(LIBRARY, before, step, told).way for step, told in said.items()}
    translated = {"chat": "translated", "tools": "translated"}
    assert ways == translated | {"error": "native", "embeddings": "native", "wrong key": ""}
    for cell in (Cell(Verdict.WORKS, way="native"), Cell(Verdict.REFUSED, "there is: none"), Cell(Verdict.WORKS)):
        assert cell_of(str(cell)) == cell


def test_agents_and_libraries_have_their_own_steps() -> None:
    """Not every agent takes pictures, and not every client embeds."""
    blind = replace(AGENT, embeds=False, agent=Agent("read", {}, Sight.NONE))
    assert steps_of(blind) == ["chat", "stream", "tools", "error", "wrong key", "limit"]
    assert "image" in steps_of(AGENT)
    assert {"image", "error", "embeddings"} <= set(steps_of(LIBRARY))


def test_an_agent_reads_the_file_that_is_named(tmp_path: Path) -> None:
    """The picture too, where that is how it sees one; the result of its call is not answered by another call."""
    before, seeing = stage(), Agent("read", {"file": "{file}"}, Sight.READ)
    assert before.play is not None

    def called(agent: Agent | None, text: str, **turn: Any) -> Any:
        assert before.play is not None
        before.begin(agent, tmp_path)
        messages = [{"role": "user", "content": text}, *([turn] if turn else [])]
        body = {"messages": messages, "tools": [{"name": before.play.tool}]}
        return before.play.call(Request("POST", "/api/chat", "", [], json.dumps(body).encode()))

    note, picture = (f"What does {name} say?" for name in (NOTE_FILE, PICTURE_FILE))
    assert called(seeing, note) == {"file": str(tmp_path / NOTE_FILE)}
    assert called(seeing, picture) == {"file": str(tmp_path / PICTURE_FILE)}
    assert called(AGENT.agent, picture) is called(seeing, "Hi") is called(seeing, note, role="tool") is None
    assert called(None, "Hi") == ARGUMENTS


def test_an_agent_is_told_that_there_is_no_such_model() -> None:
    """What it prints names the model in any case: it has to have been refused too."""
    said = {"error": "Failed", "status": None, "message": f"model: {UNKNOWN}"}
    refused = Answer("/v1/chat/completions", 404, asked=UNKNOWN.encode())
    assert judged(AGENT, stage(Behind.OLLAMA, refused), "error", said).verdict is Verdict.WORKS
    assert judged(AGENT, stage(Behind.OLLAMA, Answer("/v1/models", 200)), "error", said).verdict is Verdict.FAILS
    assert judged(AGENT, stage(Behind.OLLAMA, refused), "error", {"text": "Hi"}).verdict is Verdict.FAILS


def test_an_agents_steps_are_told_apart_by_what_was_asked() -> None:
    """The way of a picture's answer is not that of the chat's."""
    over = "/v1/messages -> /api/chat"
    shown = Answer("/v1/messages", 200, translated=over, asked=PICTURE.encode())
    plain = Answer("/v1/messages", 200, asked=b"{}")
    before = stage(Behind.OLLAMA, plain, shown)
    assert [way_of(AGENT, before, step) for step in ("chat", "image")] == ["native", "translated"]


def test_an_agent_sends_back_what_its_tool_said() -> None:
    """Its answer alone does not tell that it read the file."""
    said = {"text": f"agent\n{SENTENCE}\n"}
    assert judged(AGENT, stage(bodies=({"messages": [NOTE]},)), "tools", said).verdict is Verdict.WORKS
    assert judged(AGENT, stage(bodies=({"messages": []},)), "tools", said).verdict is Verdict.FAILS
    assert judged(AGENT, stage(bodies=({"stream": False},)), "stream", said).verdict is Verdict.FAILS


def test_an_agent_waits_as_it_is_told() -> None:
    """It was refused, and then went on; the driver's own refusal does not count."""
    refused, answered = Answer("/v1/chat/completions", 429), Answer("/v1/chat/completions", 200)
    gave_up = {"error": "Failed", "status": None, "message": "Sorry."}
    waited = stage(Behind.OLLAMA, refused, answered)
    assert judged(AGENT, waited, "limit", {"text": SENTENCE}).verdict is Verdict.WORKS
    assert judged(AGENT, stage(Behind.OLLAMA, refused), "limit", gave_up).verdict is Verdict.FAILS
    unrefused = stage(Behind.OLLAMA, Answer("/api/generate", 429), answered)
    assert judged(AGENT, unrefused, "limit", {"text": SENTENCE}).verdict is Verdict.FAILS


def test_a_fault_of_the_clients_own() -> None:
    """It is told as such while it is there, and fails once it has gone."""
    faulty = replace(LIBRARY, faults={"wrong key": "it hides the refusal"})
    hidden = judged(faulty, stage(), "wrong key", {"error": "Odd", "status": None, "message": "No such model."})
    assert (hidden.verdict, hidden.why) == (Verdict.OWN, "it hides the refusal")
    mended = judged(faulty, stage(), "wrong key", {"error": "Denied", "status": 401, "message": ""})
    assert (mended.verdict, mended.why) == (Verdict.FAILS, "no longer so: it hides the refusal")


def test_each_client_has_its_driver() -> None:
    """No two clients share a driver or a name."""
    assert len({client.driver for client in CLIENTS}) == len({client.name for client in CLIENTS}) == len(CLIENTS)
