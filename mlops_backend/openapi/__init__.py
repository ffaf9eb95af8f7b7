"""The API's description: what quart-schema cannot know of streams, errors and identifiers."""

from __future__ import annotations

from mlops_backend.openapi.document import add_schema
from mlops_backend.openapi.marks import (
    BYTES,
    CSV,
    NDJSON,
    SSE,
    document_asking,
    document_media_types,
    document_open,
    document_relayed,
    document_sent,
)
from mlops_backend.openapi.models import complete_models

__all__ = [
    "BYTES",
    "CSV",
    "NDJSON",
    "SSE",
    "add_schema",
    "complete_models",
    "document_asking",
    "document_media_types",
    "document_open",
    "document_relayed",
    "document_sent",
]
