"""What came of a client's steps, held against what the backend sent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from tests.clients.catalogue import Client, Sight
from tests.clients.play import NOTE, PICTURE, RESULT, SENTENCE, TOOL, UNKNOWN
from tests.clients.sent import Answer
from tests.clients.stages import VECTOR_SIZES, Behind, Stage

STEPS: Final = ("chat", "stream", "tools", "image", "embeddings", "error", "wrong key", "limit")
GENERATING: Final = ("chat", "stream", "tools")
REFUSALS: Final = {
    "error": (404, UNKNOWN),
    "wrong key": (401, "The API key is not known"),
    "limit": (429, "The limit 'requests' of this key is reached"),
}
NO_TOOLS: Final = "the embedded engine's model calls no tools"
NO_IMAGES: Final = "the embedded engine's model sees no images"
_GENERATING_ROUTES: Final = ("/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/api/generate")
# The picture itself, or one that a client made a JPEG of.
_PICTURE: Final = rf"{re.escape(PICTURE)}|[\",]/9j/"
_MARKS: Final = {"image": _PICTURE.encode(), "error": UNKNOWN.encode(), "tools": f'"{TOOL}"'.encode()}
# Where a driver itself uses up what an agent's key may ask just now.
DRIVERS_OWN: Final = "/api/generate"
# What a driver raises for a program that fails: its reason is at the end of what it printed.
PROGRAM: Final = "Failed"
_SHOWN: Final = 160


class Verdict(StrEnum):
    """How a step ended."""

    WORKS = "works"
    REFUSED = "refused"
    OWN = "own fault"
    FAILS = "fails"


@dataclass(frozen=True)
class Cell:
    """One step before one backend; `why` is a sentence where it does not work, `way` is native or translated."""

    verdict: Verdict
    why: str = ""
    way: str = ""

    def __str__(self) -> str:
        kind = f"{self.verdict}, {self.way}" if self.way else str(self.verdict)
        return f"{kind}: {self.why}" if self.why else kind


def cell_of(text: str) -> Cell:
    """The cell that a text tells of."""
    kind, _, why = text.partition(": ")
    verdict, _, way = kind.partition(", ")
    return Cell(Verdict(verdict), why, way)


def steps_of(client: Client) -> list[str]:
    """The steps that a client has."""
    blind = client.agent is not None and client.agent.sight is Sight.NONE
    lacks = {*(("image",) if blind else ()), *(() if client.embeds else ("embeddings",))}
    return [step for step in STEPS if step not in lacks]


def judged(client: Client, stage: Stage, step: str, said: dict[str, Any] | None) -> Cell:
    """The verdict on what a driver told of a step; None is nothing."""
    if said is None:
        return Cell(Verdict.FAILS, "the driver told nothing of it")
    cell = _judged(client, stage, step, said)
    fault = client.faults.get(step) or client.faults.get(stage.behind)
    if fault and cell.verdict is Verdict.FAILS:
        return Cell(Verdict.OWN, fault)
    if fault and cell.verdict is Verdict.WORKS:
        return Cell(Verdict.FAILS, f"no longer so: {fault}")
    return replace(cell, way=way_of(client, stage, step)) if cell.verdict is Verdict.WORKS else cell


def way_of(client: Client, stage: Stage, step: str) -> str:
    """Which way the service's answers to a step came; nothing for what it answers by itself."""
    if step in ("wrong key", "limit"):
        return ""
    answers = [answer for answer in stage.kept.answers if answer.status not in (401, 429)]
    ways = {bool(answer.translated) for answer in answers if _is_of(client, step, answer)}
    return " and ".join("translated" if way else "native" for way in sorted(ways))


def _is_of(client: Client, step: str, answer: Answer) -> bool:
    """Whether an answer belongs to a step, by what was asked; an agent's requests without picture are all alike."""
    if step == "embeddings":
        return "embed" in answer.path
    if not answer.path.endswith(_GENERATING_ROUTES) or (client.agent and answer.path == DRIVERS_OWN):
        return False
    marked = [name for name, mark in _MARKS.items() if re.search(mark, answer.asked)]
    alike = client.agent and step in GENERATING and not {"image", "error"} & {*marked}
    return bool(alike) or marked[:1] == ([step] if step in _MARKS else [])


def _judged(client: Client, stage: Stage, step: str, said: dict[str, Any]) -> Cell:
    if client.agent and step == "limit":
        return _waited(stage, said)
    if step == "error" and client.raises and said.get("error", client.raises) != client.raises:
        return Cell(Verdict.FAILS, f"{said['error']} is raised, not {client.raises}")
    if client.agent and step == "error" and not any(_names_nothing(answer) for answer in stage.kept.answers):
        return Cell(Verdict.FAILS, f"it was not told that there is no such model: {shown(said)}")
    if step in REFUSALS:
        return _refused(*REFUSALS[step], said)
    if lack := lacking(client, stage.behind, step):
        return _lacking(*lack, said)
    if "error" in said:
        return Cell(Verdict.FAILS, shown(said))
    wrong = _difference(client, stage, step, said) or _lost(stage, step, said)
    return Cell(Verdict.FAILS, wrong) if wrong else Cell(Verdict.WORKS)


def _names_nothing(answer: Answer) -> bool:
    """Whether it refuses a model that is not there, or to pull it; a program shows the name in any case."""
    return answer.status in (403, 404) and UNKNOWN.encode() in answer.asked


def _lost(stage: Stage, step: str, said: dict[str, Any]) -> str:
    """What of a client's request did not arrive at the fake."""
    arrived = json.dumps(stage.bodies)
    if step == "image" and not re.search(_PICTURE, arrived):
        return "the image did not arrive"
    if step != "tools" or "text" not in said or "name" not in said:
        return ""
    if RESULT not in arrived:
        return "the call's result did not arrive"
    return "" if said["text"] == SENTENCE else f"another text than was sent: {said['text']!r:.120}"


def lacking(client: Client, behind: Behind, step: str) -> tuple[str, tuple[int, ...], str] | None:
    """What a backend does not have: the sentence for it, the statuses and the words of a right refusal."""
    if behind is Behind.ENGINE and (step == "tools" or (client.agent and step in (*GENERATING, "image"))):
        return NO_TOOLS, (400,), "does not support tools"
    if behind is Behind.ENGINE and step == "image":
        return NO_IMAGES, (400,), "does not support"
    return None


def _refused(status: int, words: str, said: dict[str, Any]) -> Cell:
    """An error of ours must come out as an error, with its status or in our words."""
    if "error" not in said:
        return Cell(Verdict.FAILS, f"no error, but {said.get('text', said)!r:.80}")
    if said.get("status") == status or words in said["message"]:
        return Cell(Verdict.WORKS)
    return Cell(Verdict.FAILS, f"neither {status} nor our words: {shown(said)}")


def _waited(stage: Stage, said: dict[str, Any]) -> Cell:
    """An agent is told to wait some seconds: it does, and goes on; or it says what it was told."""
    answers = [answer for answer in stage.kept.answers if answer.path != DRIVERS_OWN]
    told = any(answer.status == REFUSALS["limit"][0] for answer in answers)
    if not told:
        return Cell(Verdict.FAILS, "it was not told to wait")
    shown_to_user = str(said.get("text", said.get("message", "")))
    # Before a backend that cannot serve it, its first answer is the backend's refusal.
    went_on = "error" not in said or answers[-1].status != REFUSALS["limit"][0]
    if went_on or REFUSALS["limit"][1] in shown_to_user:
        return Cell(Verdict.WORKS)
    return Cell(Verdict.FAILS, f"it did not wait, and does not say why: {shown(said)}")


def _lacking(why: str, statuses: tuple[int, ...], words: str, said: dict[str, Any]) -> Cell:
    if "error" not in said:
        return Cell(Verdict.FAILS, f"no error, though {why}")
    named = any(re.search(rf"\b{status}\b", said["message"]) for status in statuses)
    if said.get("status") in statuses or words in said["message"] or named:
        return Cell(Verdict.REFUSED, why)
    return Cell(Verdict.FAILS, f"{why}; told as {shown(said)}")


def _difference(client: Client, stage: Stage, step: str, said: dict[str, Any]) -> str:
    if step == "embeddings":
        size = VECTOR_SIZES[stage.behind]
        return "" if said["length"] == size else f"a vector of {said['length']} numbers, not {size}"
    if step == "tools" and not client.agent:
        return _other_call(stage, said)
    if step == "tools" and not any(NOTE in json.dumps(body) for body in stage.bodies):
        return "what the tool said was not sent back"
    if step == "stream" and client.agent and not any(body.get("stream", True) for body in stage.bodies):
        return "it asks for whole answers"
    sent = [answer.text for answer in stage.kept.answers] if stage.play is None else [SENTENCE]
    known = [text.strip() if client.agent else text for text in sent]
    if not said["text"].strip():
        return "no text"
    if not any(text == said["text"] or (client.agent and text and text in said["text"]) for text in known):
        return f"another text than was sent: {said['text']!r:.120}"
    if step == "stream" and not client.agent and stage.play is not None and said["parts"] < 2:
        return "the stream came in one piece"
    return ""


def _other_call(stage: Stage, said: dict[str, Any]) -> str:
    assert stage.play is not None
    wanted = {"name": stage.play.tool, "arguments": stage.play.asked[""]}
    called = {name: said.get(name) for name in wanted}
    return "" if called == wanted else f"another call than was sent: {called!r:.120}"


def shown(said: dict[str, Any]) -> str:
    """An error, shortened to a line, without ids that are new each time."""
    status = f" {said['status']}" if said.get("status") else ""
    message = re.sub(r"\b[a-z]+_\w{16,}", "…", " ".join(said["message"].split()))
    return f"{said['error']}{status}: {message[-_SHOWN:] if said['error'] == PROGRAM else message[:_SHOWN]}"
