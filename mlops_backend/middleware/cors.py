"""The one CORS policy's fixed parts; which origins are allowed is a setting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from quart import Quart, Response
from quart_cors import cors

from mlops_backend.middleware.request_context import at_hand

# What Ollama's own server allows, and what we and newer clients add. quart-cors knows no prefixes: each is listed.
# Firefox and Safari send the User-Agent that ollama-js, openai-node and the AI SDK set.
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "User-Agent",
    "Accept",
    "X-Requested-With",
    "X-API-Key",
    "Last-Event-ID",
    "Idempotency-Key",
    "If-Match",
    "Cache-Control",
    "X-Cache",
    "X-Request-ID",
    "X-Priority",
    "X-Progress",
    "X-End-User",
    "Prefer",
    "OpenAI-Beta",
    "OpenAI-Organization",
    "OpenAI-Project",
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-custom-poll-interval",
    "x-stainless-helper",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-poll-helper",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
)
EXPOSED_HEADERS: Final = (
    "X-Request-ID",
    "Request-Id",
    "Retry-After",
    "Retry-After-Ms",
    "RateLimit",
    "RateLimit-Policy",
    "X-Token-Count",
    "X-Translated",
    "X-Backend",
    "X-Route-Reason",
    "X-Cache",
    "Age",
    "X-Should-Retry",
    "Content-Disposition",
    "ETag",
    "Location",
    "X-Message-ID",
    "X-Reply-ID",
    "X-Omitted-Messages",
    "Idempotent-Replayed",
    "Preference-Applied",
)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PREFLIGHT_LIFE: Final = 7200


def allow_pages(app: Quart, origins: Sequence[str]) -> None:
    """Let pages of these origins read answers; a request that no page sends costs hardly anything.

    quart-cors reads its whole policy again for each answer. Of one whose request has no `Origin` it says nothing but
    that the answer would vary with it.
    """
    cors(
        app,
        allow_origin=origins,
        allow_headers=ALLOWED_HEADERS,
        allow_methods=METHODS,
        expose_headers=EXPOSED_HEADERS,
        max_age=timedelta(seconds=PREFLIGHT_LIFE),
    )
    policy: Any = app.after_request_funcs[None].pop()

    @app.after_request
    async def tell_pages(response: Response) -> Response:
        if any([name == b"origin" for name, _ in at_hand().scope["headers"]]):
            return await policy(response)  # type: ignore[no-any-return]
        if any([name.lower() == "vary" for name, _ in response.headers]):
            response.vary.add("Origin")
        else:
            response.headers.add("Vary", "Origin")
        return response
