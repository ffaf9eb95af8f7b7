"""The cases, a module a family."""

from trial.case import Case
from trial.cases import backends, clients, floods, http, memory, neglect

CASES: tuple[Case, ...] = (
    *neglect.CASES,
    *http.CASES,
    *memory.CASES,
    *backends.CASES,
    *clients.CASES,
    *floods.CASES,
)
