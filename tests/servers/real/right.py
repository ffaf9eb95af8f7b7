"""What is right, by Ollama's rules, of an answer that the service translated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.wire import Answer
from tests.fakes.tiny_transformer import CALL, THOUGHT, WORDS

SENTENCE: Final = "".join(WORDS)
MUSING: Final = "".join(THOUGHT)
_NDJSON: Final = "application/x-ndjson"
_DURATIONS: Final = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


@dataclass(frozen=True)
class Said:
    """An answer of `/api/chat` or `/api/generate`, whole or streamed.

    Attributes:
        text: all of it; nothing: whatever it is.
        reason: of its end; nothing: whichever it is.
        thinking: all of it.
        calls: names and arguments of the tools called.
        written: how many tokens the answer has at most; 0: as many as it has.
        read: how many tokens the prompt has; 0: as many as it has.
        timed: whether all durations have to be there.
        scored: whether each token has its log probability.
    """

    text: str | None = SENTENCE
    reason: str | None = "stop"
    thinking: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    written: int = len(WORDS) + 1
    read: int = 0
    timed: bool = False
    scored: bool = False

    def __call__(self, answer: Answer) -> str:
        """What is wrong."""
        if answer.status != 200:
            return f"{answer.status} {answer.body[:300].decode(errors='replace')}"
        lines = [json.loads(line) for line in answer.body.splitlines()]
        if answer.header("content-type") == _NDJSON and [line["done"] for line in lines] != [False] * (
            len(lines) - 1
        ) + [True]:
            return f"its last line alone is not done: {lines[-1]}"
        told = {
            "text": "".join(_spoken(line).get("content", "") for line in lines),
            "thinking": "".join(_spoken(line).get("thinking", "") for line in lines),
            "calls": [_call(call) for line in lines for call in _spoken(line).get("tool_calls", ())],
            "reason": lines[-1].get("done_reason"),
        }
        due = {"text": self.text, "thinking": self.thinking, "calls": list(self.calls), "reason": self.reason}
        wrong = [f"{name} is {told[name]!r}, not {due[name]!r}" for name in due if due[name] not in (None, told[name])]
        return "; ".join([*wrong, *self._figures(lines)])

    def _figures(self, lines: Sequence[Mapping[str, Any]]) -> list[str]:
        last = lines[-1]
        read, written = last.get("prompt_eval_count", 0), last.get("eval_count", 0)
        wrong = [] if read == self.read or (read > 0 and not self.read) else [f"prompt_eval_count is {read}"]
        if self.written and not self.written - 1 <= written <= self.written:
            wrong.append(f"eval_count is {written}, not {self.written}")
        if self.timed:
            wrong += [f"no {name}" for name in _DURATIONS if not isinstance(last.get(name), int)]
            # Of a whole answer nobody can tell when its first token was there.
            due = ("prompt_eval_duration", "eval_duration") if len(lines) > 1 else ("eval_duration",)
            wrong += [f"{name} is 0" for name in due if last.get(name) == 0]
        scores = [score for line in lines for score in line.get("logprobs") or ()]
        if self.scored and len(scores) < len(WORDS):
            wrong.append(f"{len(scores)} log probabilities")
        return wrong


@dataclass(frozen=True)
class Refused:
    """A refusal in the words of the route's API, that names what is wrong.

    Attributes:
        status: of HTTP; 500: any that says that the server failed.
        words: that its sentence has, whatever their case.
        code: of our own refusals.
        dialect: whose error it is.
    """

    status: int
    words: Sequence[str] = ()
    code: str = ""
    dialect: str = "ollama"

    def __call__(self, answer: Answer) -> str:
        """What is wrong."""
        told = answer.body.decode(errors="replace")
        if answer.status != self.status and not (self.status == 500 <= answer.status):
            return f"{answer.status} {told[:300]}, not {self.status}"
        try:
            sentence, code = _sentence(json.loads(told), self.dialect)
        except (ValueError, KeyError, TypeError):
            return f"no error of this API: {told[:300]}"
        missing = [word for word in self.words if word.lower() not in sentence.lower()]
        wrong = [f"{missing} not in {sentence[:300]!r}"] if missing else []
        if self.code and code != self.code:
            wrong.append(f"the code is {code!r}, not {self.code!r}")
        return "; ".join(wrong)


@dataclass(frozen=True)
class Has:
    """One object with these members; a function is asked about its member's value, which has to be true."""

    members: Mapping[str, Any]

    def __call__(self, answer: Answer) -> str:
        """What is wrong."""
        if answer.status != 200:
            return f"{answer.status} {answer.body[:300].decode(errors='replace')}"
        found = json.loads(answer.body)
        wrong = []
        for name, due in self.members.items():
            value = found.get(name)
            if not (due(value) if callable(due) else value == due):
                wrong.append(f"{name} is {json.dumps(value, ensure_ascii=False)[:200]}")
        return "; ".join(wrong)


@dataclass(frozen=True)
class Messages:
    """A stream of `/v1/messages` that says this and ends."""

    text: str = SENTENCE

    def __call__(self, answer: Answer) -> str:
        """What is wrong."""
        if answer.status != 200:
            return f"{answer.status} {answer.body[:300].decode(errors='replace')}"
        data = [line.partition(b"data: ")[2] for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
        events = [json.loads(each) for each in data]
        said = "".join(event.get("delta", {}).get("text", "") for event in events)
        ends = [event["type"] for event in (events[0], events[-1])]
        wrong = [] if ends == ["message_start", "message_stop"] else [f"it begins and ends with {ends}"]
        return "; ".join(wrong if said == self.text else [*wrong, f"the text is {said!r}"])


CALLED: Final = ({"name": CALL["name"], "arguments": CALL["arguments"]},)


def _spoken(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a line says, of a chat or of a generation."""
    spoken = line.get("message", line)
    assert isinstance(spoken, Mapping)
    return {"content": spoken.get("response", ""), **spoken}


def _call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: call["function"][name] for name in ("name", "arguments")}


def _sentence(told: Any, dialect: str) -> tuple[str, str]:
    if dialect == "ollama":
        return str(told["error"] if isinstance(told["error"], str) else 0 / 0), str(told.get("code", ""))
    if dialect == "anthropic" and told["type"] != "error":
        raise KeyError("type")
    return str(told["error"]["message"]), str(told["error"].get("code") or told["error"].get("type") or "")
