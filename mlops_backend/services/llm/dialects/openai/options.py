"""Ollama's `options` in the words of llama.cpp's OpenAI API.

What Ollama applies by itself is sent explicitly where llama.cpp's own default differs: `top_p` 0.9 (not 0.95),
`min_p` 0 (not 0.05), `repeat_penalty` 1.1 (not 1.0; 1.1 up to Ollama 0.9, 1.0 since: a small model repeats itself
without). Alike in both: `temperature` 0.8, `top_k` 40, `typical_p` 1, `repeat_last_n` 64.

Another server's defaults are its own business, and it may refuse fields that it does not know: it is sent only what
the client set, within the bounds that OpenAI's API has (seen in vLLM 0.32, which refuses what is beyond them). Ollama
takes more; what it does then is asked for in other words: docs/decisions/0014.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.openai.stops import SENT

_INT_MAX: Final = 2**31 - 1
# What the engine sets aside for it is bounded here: without a bound it ended for lack of memory.
_REPEAT_LAST_N_MAX: Final = 8192
_BOUNDS: Final = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_DEFAULTS: Final = {"top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.1}


def sampling(options: Any, *, llama_cpp: bool = True, context: int = 0) -> dict[str, Any]:
    """The engine's sampling fields for Ollama's `options` object; unknown ones are ignored, as Ollama does.

    Args:
        options: the client's.
        llama_cpp: whether it is for a llama.cpp whose defaults are known.
        context: how many tokens prompt and answer may have together; 0 where nobody tells.

    Raises:
        BadRequest: not an object, or a value of the wrong type; the message names the option as Ollama's does.
    """
    fields: dict[str, Any] = dict(_DEFAULTS) if llama_cpp else {}
    if options is None:
        return fields
    if not isinstance(options, Mapping):
        raise BadRequest('the field "options" must be an object')
    for name, value in options.items():
        read = _READERS.get(name)
        if read is not None and value is not None:
            fields.update(read(name, value))
    return fields if llama_cpp else _within_bounds(fields, context)


def _within_bounds(fields: dict[str, Any], context: int) -> dict[str, Any]:
    """The same for a server that holds OpenAI's bounds."""
    for name, (least, most) in _BOUNDS.items():
        if name in fields:
            fields[name] = max(least, min(fields[name], most))
    if fields.get("top_p") == 0:  # the likeliest token alone
        del fields["top_p"]
        fields["temperature"] = 0
    if fields.get("top_k", 1) <= 0:
        fields["top_k"] = -1  # all of them
    if context and fields.get("max_tokens", 0) >= context:
        del fields["max_tokens"]  # Ollama ends where the context does
    if "stop" in fields:
        fields["stop"] = fields["stop"][:SENT]  # the answer is watched for the others
    if (penalty := fields.pop("repeat_penalty", 0)) > 0:
        fields |= {"repeat_penalty": penalty, "repetition_penalty": penalty}  # what it is called everywhere else
    return fields


def read_option(option: str, name: str, value: Any) -> dict[str, Any]:
    """The engine's fields for one of Ollama's options that the client calls `name`, within the same bounds.

    Raises:
        BadRequest: a value of the wrong type.
    """
    return _READERS[option](name, value)


def _integer(name: str, value: Any) -> int:
    """Ollama truncates a float that stands for an integer."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise BadRequest(f'option "{name}" must be of type integer')
    return max(-_INT_MAX, min(int(value), _INT_MAX))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise BadRequest(f'option "{name}" must be of type float32')
    return value


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _as_number(name: str, value: Any) -> dict[str, Any]:
    return {name: _number(name, value)}


def _as_integer(name: str, value: Any) -> dict[str, Any]:
    return {name: _integer(name, value)}


def _unused_integer(name: str, value: Any) -> dict[str, Any]:
    """An option of the runner, fixed when the engine starts: only its type is checked."""
    _integer(name, value)
    return {}


def _num_predict(name: str, value: Any) -> dict[str, Any]:
    """Zero and less mean: until the model ends or the context is full."""
    limit = _integer(name, value)
    return {"max_tokens": limit} if limit > 0 else {}


def _num_keep(name: str, value: Any) -> dict[str, Any]:
    kept = _integer(name, value)
    return {"n_keep": kept} if kept >= 0 else {}


def _seed(name: str, value: Any) -> dict[str, Any]:
    """A negative one means: choose one."""
    seed = _integer(name, value)
    return {"seed": seed} if seed >= 0 else {}


def _repeat_last_n(name: str, value: Any) -> dict[str, Any]:
    """A negative one means: the whole context."""
    last = _integer(name, value)
    return {name: _REPEAT_LAST_N_MAX if last < 0 else min(last, _REPEAT_LAST_N_MAX)}


def _stop(name: str, value: Any) -> dict[str, Any]:
    """One text or several; an empty one would end every answer at once."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest(f'option "{name}" must be of type array of strings')
    stops = [text for text in texts if text]
    return {name: stops} if stops else {}


_Reader = Callable[[str, Any], dict[str, Any]]
_READERS: Final[Mapping[str, _Reader]] = {
    "num_predict": _num_predict,
    "num_keep": _num_keep,
    "seed": _seed,
    "stop": _stop,
    "repeat_last_n": _repeat_last_n,
    "top_k": _as_integer,
    **dict.fromkeys(
        (
            "temperature",
            "top_p",
            "min_p",
            "typical_p",
            "repeat_penalty",
            "presence_penalty",
            "frequency_penalty",
        ),
        _as_number,
    ),
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), _unused_integer),
}
