"""The ledger of generations, and what is asked of it."""

from __future__ import annotations

from mlops_backend.services.other.usage.answers import (
    GENERATION_COLUMNS,
    csv_head,
    csv_lines,
    generation_object,
    latency_object,
    table_columns,
    table_json,
    table_object,
    table_rows,
)
from mlops_backend.services.other.usage.generation_row import Noted, fitting
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.services.other.usage.meter import GenerationMeter
from mlops_backend.services.other.usage.queries import Span
from mlops_backend.services.other.usage.service import Usage
from mlops_backend.services.other.usage.wiring import build_usage

__all__ = [
    "GENERATION_COLUMNS",
    "GenerationMeter",
    "Ledger",
    "Noted",
    "Span",
    "Usage",
    "build_usage",
    "csv_head",
    "csv_lines",
    "fitting",
    "generation_object",
    "latency_object",
    "table_columns",
    "table_json",
    "table_object",
    "table_rows",
]
