"""What a key's limits refuse whatever is asked: refused before its body is taken in."""

from __future__ import annotations

from typing import Final

from quart import request

from mlops_backend.middleware.request_context import record, service
from mlops_backend.services.llm.ollama_service import OllamaService

# A smaller body is here already, and its limits are looked at when it has been read.
_LARGE: Final = 64 * 1024


async def refuse_early() -> None:
    """Refuse the generation at hand if its body is large and there is no room in its key's limits.

    Raises:
        LimitExceeded, LimitsUnavailable: see `OllamaService.check_limits`.
    """
    noted = record()
    if noted.generates and noted.caller is not None and _is_large():
        await service(OllamaService).check_limits(noted.caller)


def _is_large() -> bool:
    length = request.content_length
    return length is None or length > _LARGE
