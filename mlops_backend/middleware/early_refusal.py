"""What a key's limits refuse whatever is asked: refused before its body is taken in."""

from __future__ import annotations

from typing import Final

from quart import Request

from mlops_backend.middleware.request_context import service
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.telemetry.record import RequestRecord

# A smaller body is here already, and its limits are looked at when it has been read.
_LARGE: Final = 64 * 1024


async def refuse_early(asked: Request, noted: RequestRecord) -> None:
    """Refuse a generation if its body is large and there is no room in its key's limits.

    Raises:
        LimitExceeded, LimitsUnavailable: see `OllamaService.check_limits`.
    """
    if noted.generates and noted.caller is not None and _is_large(asked):
        await service(OllamaService).check_limits(noted.caller, noted.end_user)


def _is_large(asked: Request) -> bool:
    length = asked.content_length
    return length is None or length > _LARGE
