"""Where the service answers a native request unlike the server, and why that is meant."""

from __future__ import annotations

from typing import Final

# By the beginning of a server's name, and a case's name.
REASONS: Final[dict[tuple[str, str], str]] = {
    ("", "/v1/chat/completions no JSON"): "what is no JSON object is refused here, before a server reads it",
    ("llama.cpp", "/v1/models"): "the list is of all backends together: what stands beside their entries is left out",
}


def reason(server: str, case: str) -> str:
    """Why the two differ there, or nothing."""
    return next((why for (kind, name), why in REASONS.items() if server.startswith(kind) and case == name), "")
