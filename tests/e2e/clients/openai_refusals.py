"""What the library `openai` makes of a request that fails before its first byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import openai
import pytest

from tests.e2e.clients.clients import Caller
from tests.fakes.ollama import Mode

REFUSALS: Final = (
    (Mode.ERROR_500, openai.InternalServerError),
    (Mode.BUSY_503, openai.InternalServerError),
    (Mode.CLOSE_BEFORE_HEADERS, openai.InternalServerError),
    (Mode.NOT_FOUND_MODEL, openai.NotFoundError),
)


async def check_refused(
    error: type[openai.APIStatusError], call: Caller, method: str, body: Mapping[str, Any], *, stream: bool
) -> None:
    """It is the library's error of that status, with a sentence."""
    with pytest.raises(error) as caught:
        await call(method, **body, stream=stream)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]
