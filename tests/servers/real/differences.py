"""Where the service answers a native request unlike the server, and why that is meant."""

from __future__ import annotations

from typing import Final

_SMALL: Final = "a bare completion of the small model leaves the schema, directly too; one of SmolLM2 does not"
_PLACE: Final = "it tells the place in the body, which is longer by the usage that is asked for"
_IGNORED: Final = "it takes a format for a bare completion, does not hold to it, and does not say who it is"
# By the beginning of a server's name, and a case's name.
REASONS: Final[dict[tuple[str, str], str]] = {
    ("", "/v1/chat/completions no JSON"): "what is no JSON object is refused here, before a server reads it",
    ("llama-cpp-python", "/v1/models/MODEL"): "its model's name is a path, and no route has an empty part",
    ("llama-cpp-python", "/api/generate raw, format json"): _IGNORED,
    ("llama-cpp-python", "/api/generate raw, format json, streamed"): _IGNORED,
    ("llama.cpp", "/api/generate raw, format json"): _SMALL,
    ("llama.cpp", "/api/generate raw, format json, streamed"): _SMALL,
    ("SMG", "/api/generate raw, format json"): _SMALL,
    ("SMG", "/api/generate raw, format json, streamed"): _SMALL,
    ("vllm-router", "/v1/chat/completions messages a text, streamed"): _PLACE,
    ("vllm-router", "/v1/completions prompt a number, streamed"): _PLACE,
    ("SMG", "/v1/chat/completions messages a text, streamed"): _PLACE,
    ("SMG", "/v1/completions prompt a number, streamed"): _PLACE,
    ("llama.cpp (", "/v1/models"): "the list is of all backends together: what stands beside their entries is left out",
}


def reason(server: str, case: str) -> str:
    """Why the two differ there, or nothing."""
    return next((why for (kind, name), why in REASONS.items() if server.startswith(kind) and case == name), "")
