"""Options: how an answer is to be sampled, formed and thought about, in Ollama's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.fields import Fields

# What Ollama's /v1 takes where a client names none; its own routes take the model's, or others.
_DEFAULT: Final = 1.0
_NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_EFFORTS: Final[Mapping[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
}
_GO_TYPES: Final = {bool: "bool", int: "float64", float: "float64", list: "[]interface {}"}


def chat_options(request: Fields) -> dict[str, Any]:
    """The options of a chat; a stop text that is no text is passed over. Raises `BadRequest`, as those below do."""
    options = {name: request.number(name) for name in _NUMBERS}
    options["temperature"] = _DEFAULT if options["temperature"] is None else options["temperature"]
    options["top_p"] = _DEFAULT if options["top_p"] is None else options["top_p"]
    stops = [stop for stop in _stops(request) if isinstance(stop, str)]
    most = _least(request.whole_number("max_tokens"), request.whole_number("max_completion_tokens"))
    return _told(**options, stop=stops or None, num_predict=most, seed=request.whole_number("seed"))


def completion_options(request: Fields) -> dict[str, Any]:
    """The options of a completion."""
    options = {name: request.number(name, "float32") for name in _NUMBERS}
    options["temperature"] = _DEFAULT if options["temperature"] is None else options["temperature"]
    options["top_p"] = options["top_p"] or _DEFAULT
    for stop in _stops(request):
        if not isinstance(stop, str):
            kind = _GO_TYPES.get(type(stop), "map[string]interface {}" if stop is not None else "<nil>")
            raise BadRequest(f"invalid type for 'stop' field: {kind}")
    most = request.whole_number("max_tokens")
    return _told(**options, stop=_stops(request) or None, num_predict=most, seed=request.whole_number("seed"))


def native_format(request: Fields) -> Any:
    """The form of the answer: `json`, a schema, or none."""
    form = request.inner("response_format", "openai.ResponseFormat")
    if form is None:
        return None
    kind, described = form.text("type").strip().lower(), form.inner("json_schema", "openai.JsonSchema")
    if kind == "json_object":
        return "json"
    return described.any("schema") if kind == "json_schema" and described is not None else None


def native_think(request: Fields) -> bool | str | None:
    """How long the model is to think, where that is said."""
    reasoning = request.inner("reasoning", "openai.Reasoning")
    effort = request.text("reasoning_effort") if reasoning is None else reasoning.text("effort")
    if not effort:
        return None
    if effort not in _EFFORTS:
        known = ", ".join(f'"{each}"' for each in ("high", "medium", "low", "max"))
        raise BadRequest(f"invalid reasoning value: '{effort[:100]}' (must be {known}, or \"none\")")
    return _EFFORTS[effort]


def _stops(request: Fields) -> Sequence[Any]:
    stop = request.any("stop")
    if isinstance(stop, str):
        return [stop]
    return stop if isinstance(stop, list) else []


def _least(*numbers: int | None) -> int | None:
    """The smaller of two maxima, where both are some."""
    told = [number for number in numbers if number is not None]
    return min((number for number in told if number > 0), default=told[0] if told else None)


def _told(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
