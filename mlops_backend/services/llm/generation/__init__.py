"""A generation from admission to its last byte."""

from __future__ import annotations

from mlops_backend.services.llm.generation.admission import Admission, outcome_of
from mlops_backend.services.llm.generation.breakers import Breakers, BreakersOfWorkers
from mlops_backend.services.llm.generation.edits import edited, of_member
from mlops_backend.services.llm.generation.forwarding import Forwarded, Forwarder
from mlops_backend.services.llm.generation.metering import Meter
from mlops_backend.services.llm.generation.relay import Clocks
from mlops_backend.services.llm.generation.running import (
    Running,
    RunningEverywhere,
    RunningOfWorkers,
    state_of,
    told_generation,
)
from mlops_backend.services.llm.generation.token_estimate import estimate_prompt_tokens

__all__ = [
    "Admission",
    "Breakers",
    "BreakersOfWorkers",
    "Clocks",
    "Forwarded",
    "Forwarder",
    "Meter",
    "Running",
    "RunningEverywhere",
    "RunningOfWorkers",
    "edited",
    "estimate_prompt_tokens",
    "of_member",
    "outcome_of",
    "state_of",
    "told_generation",
]
