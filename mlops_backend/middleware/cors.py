"""The one CORS policy's fixed parts; which origins are allowed is a setting."""

from __future__ import annotations

from typing import Final

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
    "X-Request-ID",
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
    "X-Should-Retry",
    "Content-Disposition",
    "ETag",
    "Location",
    "X-Message-ID",
    "X-Reply-ID",
    "X-Omitted-Messages",
)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PREFLIGHT_LIFE: Final = 7200
