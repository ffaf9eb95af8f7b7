"""Which backends are chosen when some of them speak the OpenAI API."""

from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from mlops_backend.config import DEFAULT_OLLAMA_URL, PLACEHOLDER_KEY, Settings
from mlops_backend.services.llm.backends.builder import BackendBuilder
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine
from mlops_backend.services.llm.startup import _warn_of_open_doors, choose_backends
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.setting_backends import read_text
from tests.service import ADMIN_KEY


class NoEngine:
    """An engine that only says whether it was started."""

    api_key = "k"
    turn: Any = None  # it is never used

    def __init__(self) -> None:
        self.started = False

    async def start(self) -> None:
        """Say so."""
        self.started = True


async def _chosen(**settings: Any) -> tuple[list[str], bool]:
    engine = NoEngine()
    upstream = Upstream(max_connections=1, connect_timeout=0.2, user_agent="test")
    await upstream.open()
    try:
        values = {"_env_file": None, "api_key": ADMIN_KEY, **settings}
        chosen = Settings(**values)
        named = BackendBuilder(upstream).build(chosen.named_backends(read_text(chosen.backends_file)))
        backends = await choose_backends(chosen, named, upstream, cast(EmbeddedEngine, engine))
    finally:
        await upstream.aclose()
    return [f"{each.backend.kind} {each.backend.address}" for each in backends], engine.started


@pytest.mark.parametrize("engine", ["auto", "off"])
async def test_a_named_server_stands_alone(engine: str) -> None:
    """It counts like a named Ollama: neither the default Ollama nor the engine is used beside it."""
    chosen = await _chosen(openai_backends="http://:key@vllm:8000/v1", embedded_engine=engine)
    assert chosen == (["openai http://***@vllm:8000/v1"], False)


async def test_servers_stand_behind_the_ollamas() -> None:
    """In the operator's order, each kind for itself; the engine last, when it is wanted."""
    servers = "http://c:1 model=mine,http://d:1"
    named: dict[str, Any] = {"ollama_base_url": "http://a:1,http://b:1", "openai_backends": servers}
    expected = ["ollama http://a:1", "ollama http://b:1", "openai http://c:1", "openai http://d:1"]
    assert await _chosen(**named) == (expected, False)
    assert await _chosen(**named, embedded_engine="on") == ([*expected, "openai embedded engine"], True)


@pytest.mark.parametrize("engine", ["auto", "off"])
async def test_a_file_counts_as_named(tmp_path: Path, engine: str) -> None:
    """Its servers stand behind those of the settings, and neither the default Ollama nor the engine beside them."""
    file = tmp_path / "backends.toml"
    file.write_text('[[backend]]\nurl = "http://z:1"\nkind = "ollama"\n')
    told: dict[str, Any] = {"backends_file": str(file), "embedded_engine": engine}
    assert await _chosen(**told) == (["ollama http://z:1"], False)
    assert await _chosen(**told, openai_backends="http://c:1") == (["openai http://c:1", "ollama http://z:1"], False)


async def test_without_any_the_default_ollama_is_used() -> None:
    """As long as the engine is off."""
    assert await _chosen(embedded_engine="off") == ([f"ollama {DEFAULT_OLLAMA_URL}"], False)


@pytest.mark.parametrize(
    ("key", "auth", "told"),
    [
        (PLACEHOLDER_KEY, True, ["placeholder_key"]),
        (ADMIN_KEY, True, []),
        (ADMIN_KEY, False, ["auth_disabled"]),
    ],
)
def test_open_doors_are_told(key: str, auth: bool, told: list[str]) -> None:
    """A key that everybody knows, and none at all."""
    with capture_logs() as logs:
        _warn_of_open_doors(Settings(api_key=key, auth_enabled=auth))  # type: ignore[arg-type]
    assert [entry["event"] for entry in logs] == told
