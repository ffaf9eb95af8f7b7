"""A backend that speaks the OpenAI API, the embedded engine above all: it takes and gives Ollama's shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import perf_counter_ns
from typing import Any, Literal

from mlops_backend.services.llm.backends import Body, Operation
from mlops_backend.services.llm.embedded import EmbeddedEngine
from mlops_backend.services.llm.upstream import Target, Upstream
from mlops_backend.telemetry.record import RequestRecord
