"""Listings: the models of `/v1/models` in the shapes of Ollama's `/api/tags`, `/api/ps` and `/api/show`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import parse_object

Entry = Mapping[str, Any]
# What Ollama says of a model that it never unloads: 292 years, as many as Go can count in nanoseconds.
NEVER: Final = "2318-01-01T00:00:00Z"
_UNKNOWN: Final = "unknown"
_TEMPLATE: Final = "{{ if .System }}{{ .System }}\n{{ end }}{{ if .Tools }}{{ .Tools }}\n{{ end }}{{ .Prompt }}"
_OLLAMAS: Final = frozenset({"completion", "insert", "thinking", "tools", "vision"})
_OTHER_WORDS: Final = {
    "multimodal": "vision",
    "image": "vision",
    "tool_use": "tools",
    "function_calling": "tools",
    "completion_fim": "insert",
    "reasoning": "thinking",
    "embed": "embedding",
    "embeddings": "embedding",
}
_CONTEXTS: Final = (
    "n_ctx_train",
    "max_model_len",
    "context_length",
    "max_context_length",
    "max_request_context_length",
    "n_ctx",
)
_LOADED_CONTEXTS: Final = (
    "loaded_context_length",
    "n_ctx",
    "max_model_len",
    "max_request_context_length",
    "context_length",
    "max_context_length",
    "n_ctx_train",
)


def context_of(entry: Entry) -> int:
    """How many tokens prompt and answer may have together; 0 where the server does not tell."""
    return _first_count(entry, _LOADED_CONTEXTS)


def capabilities(entry: Entry) -> frozenset[str]:
    """What a model can do, in Ollama's words, as far as its server tells.

    llama.cpp and Ollama tell `capabilities`, others inputs and outputs (`architecture`: llama.cpp's router,
    OpenRouter) or what a request may have (`supported_parameters`), Mistral and LM Studio in their own words. Tools are
    taken by most servers: they are said where nothing is told.
    """
    told = {_words(word) for word in _texts(entry, "capabilities")} | _switched_on(entry.get("capabilities"))
    architecture = _mapping(entry.get("architecture"))
    inputs, outputs = (set(_texts(architecture, name)) for name in ("input_modalities", "output_modalities"))
    takes = set(_texts(entry, "supported_parameters"))
    kind = str(entry.get("type") or "")
    if "embedding" in told or kind.startswith("embedding") or {"embedding"} == set(map(_words, outputs)):
        return frozenset({"embedding"})
    if "image" in inputs or kind == "vlm":
        told.add("vision")
    told |= {ours for theirs, ours in (("tools", "tools"), ("reasoning", "thinking")) if theirs in takes}
    if not told or not (takes or told & {"tools", "no tools"}):
        told.add("tools")
    return frozenset({"completion", *(told & _OLLAMAS)})


def entries(body: bytes) -> list[Entry]:
    """The models as the server lists them; `null` is a list of none.

    llama.cpp has a second list, `models`, beside `data`: what it says more of a model is taken from there.

    Raises:
        BackendNonsense: it is not a list of models.
    """
    told = parse_object(body)
    models = told.get("data", "missing") or []
    if not isinstance(models, list) or not all(isinstance(model, Mapping) for model in models):
        raise BackendNonsense("The backend's list of models is not a list.")
    others = told.get("models")
    beside = [entry for entry in others if isinstance(entry, Mapping)] if isinstance(others, list) else []
    capable = {entry.get("model") or entry.get("name"): entry.get("capabilities") for entry in beside}
    return [
        {**model, "capabilities": capable[name]} if "capabilities" not in model and capable.get(name) else model
        for model in models
        if (name := name_of(model))
    ]


def may_be_lm_studios(entry: Entry) -> bool:
    """Whether LM Studio may have listed it: it says no more of its owner, nor of the model."""
    return str(entry.get("owned_by") or "").startswith("organization") and "type" not in entry


def with_more(entries_of: Iterable[Entry], more: Iterable[Entry]) -> list[Entry]:
    """Entries with what another list of the same models tells beside."""
    told = {name_of(entry): entry for entry in more}
    return [{**told.get(name_of(entry), {}), **entry} for entry in entries_of]


def name_of(entry: Entry) -> str:
    """What the server calls it."""
    return str(entry.get("id") or "")


def names_of(entry: Entry) -> list[str]:
    """What the server calls it, and further names that it takes for it."""
    return list(filter(None, (name_of(entry), *_texts(entry, "aliases"))))


def bare(name: str) -> Entry:
    """A model of which nothing but the name is known."""
    return {"id": name, "object": "model", "created": 0, "owned_by": _UNKNOWN}


def is_loaded(entry: Entry) -> bool:
    """Whether it is in memory, as far as anybody can tell: llama.cpp's router has a `status`, LM Studio a `state`."""
    state = _mapping(entry.get("status")).get("value") or entry.get("state")
    return state == "loaded" if isinstance(state, str) else True


def tag(entry: Entry, known: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `/api/tags`.

    Args:
        entry: what the server says of the model.
        known: what it does not tell, as far as it is known otherwise: `size`, `digest`, `modified_at`, `family`.
    """
    name, meta = name_of(entry), _meta(entry)
    return {
        "name": name,
        "model": name,
        "modified_at": known.get("modified_at") or _moment(entry.get("created")),
        "size": known.get("size") or _count(meta.get("size")),
        "digest": known.get("digest") or _made_up_digest(name),
        "details": _details(meta, str(known.get("family") or "")),
    }


def running(entry: Entry, known: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `/api/ps`: what such a server has loaded stays so, as far as anybody can tell."""
    listed = tag(entry, known)
    del listed["modified_at"]
    context = _first_count(entry, _LOADED_CONTEXTS)
    return {**listed, "expires_at": NEVER, "size_vram": listed["size"], "context_length": context}


def shown(entry: Entry, known: Mapping[str, Any], capabilities: Iterable[str]) -> dict[str, Any]:
    """The answer of `/api/show`; a server of this kind tells neither template nor parameters.

    Some clients send tools only where the template has a place for them, as every Ollama's has that takes tools.
    """
    listed, capable = tag(entry, known), sorted(capabilities)
    return {
        "modelfile": "",
        "parameters": "",
        "template": _TEMPLATE if "tools" in capable else "",
        "details": listed["details"],
        "model_info": _model_info(entry, listed["details"]["family"]),
        "capabilities": capable,
        "modified_at": listed["modified_at"],
    }


def _words(word: str) -> str:
    """A capability in Ollama's words."""
    return _OTHER_WORDS.get(word, word)


def _texts(holder: Mapping[str, Any], name: str) -> list[str]:
    value = holder.get(name)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _switched_on(told: Any) -> set[str]:
    """Mistral's: an object of switches."""
    if not isinstance(told, Mapping):
        return set()
    words = {_words(name) for name, is_on in told.items() if is_on is True}
    return words if "tools" in words or "function_calling" not in told else words | {"no tools"}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _details(meta: Mapping[str, Any], family: str) -> dict[str, Any]:
    parameters = _count(meta.get("n_params"))
    return {
        "parent_model": "",
        "format": "gguf" if parameters else "",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _size_label(parameters),
        "quantization_level": str(meta.get("ftype") or ""),
    }


def _model_info(entry: Entry, family: str) -> dict[str, Any]:
    """What clients read there: `general.architecture`, and under its name how long a context may be."""
    meta, architecture = _meta(entry), family or _UNKNOWN
    figures = {
        "general.parameter_count": _count(meta.get("n_params")),
        f"{architecture}.context_length": _first_count(entry, _CONTEXTS),
        f"{architecture}.embedding_length": _count(meta.get("n_embd")),
        f"{architecture}.vocab_size": _count(meta.get("n_vocab")),
    }
    told = {name: figure for name, figure in figures.items() if figure}
    return {"general.architecture": architecture, "general.basename": name_of(entry), **told} if told or family else {}


def _meta(entry: Entry) -> Mapping[str, Any]:
    """What llama.cpp tells of a model beyond OpenAI's fields."""
    return _mapping(entry.get("meta"))


def _first_count(entry: Entry, names: Iterable[str]) -> int:
    told = {**entry, **_mapping(entry.get("metadata")), **_meta(entry)}
    return next((count for name in names if (count := _count(told.get(name)))), 0)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _size_label(parameters: int) -> str:
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.2f}M" if parameters else ""


def _moment(created: Any) -> str:
    """Ollama's clients read a time there, so there is always one."""
    try:
        moment = datetime.fromtimestamp(float(created), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _made_up_digest(name: str) -> str:
    """Of the length of a real one, which Ollama's command line relies on."""
    return hashlib.sha256(name.encode()).hexdigest()
