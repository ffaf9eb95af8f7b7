"""All of the real servers, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.servers.real.kinds import LLAMA_CPP, LLAMA_CPP_PYTHON, LLAMA_CPP_ROUTER, TRANSFORMERS, VLLM, VLLM_EMBEDDING
from tests.servers.real.routers import SMG, VLLM_ROUTER
from tests.servers.real.small import INFINITY, LITSERVE

__all__ = [
    "INFINITY",
    "LITSERVE",
    "LLAMA_CPP",
    "LLAMA_CPP_PYTHON",
    "LLAMA_CPP_ROUTER",
    "SERVERS",
    "SMG",
    "TRANSFORMERS",
    "VLLM",
    "VLLM_EMBEDDING",
    "VLLM_ROUTER",
]
SERVERS: Final = (
    VLLM,
    VLLM_EMBEDDING,
    TRANSFORMERS,
    LLAMA_CPP,
    LLAMA_CPP_PYTHON,
    LLAMA_CPP_ROUTER,
    LITSERVE,
    INFINITY,
    VLLM_ROUTER,
    SMG,
)
