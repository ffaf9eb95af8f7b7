"""What a user without any model is told: in the banner, by the health routes and by the first generation."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_backend.banner import banner
from mlops_backend.config import ConfigError, load_settings
from mlops_backend.middleware.request_context import services_of
from mlops_backend.services.llm import startup
from mlops_backend.services.llm.backends import BackendPool
from mlops_backend.services.llm.embedded import EngineUnavailable
from tests.e2e.processes import free_port
from tests.service import serving, settings_for

MISSING = "The embedded engine needs the library libx.so, which is not there; install it with: pip install x"


@pytest.fixture(autouse=True)
def _nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "DEFAULT_OLLAMA_URL", f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("engine", ["auto", "off"])
async def test_everybody_is_told_the_same_sentence(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Ollama nor the engine: four places say what is missing and what to do, in the same words."""

    async def cannot_start(_: object) -> None:
        raise EngineUnavailable(MISSING, "Traceback: many lines")

    monkeypatch.setattr("mlops_backend.services.llm.embedded.engine.EmbeddedEngine.start", cannot_start)
    settings = settings_for(embedded_engine=engine)
    async with serving(settings) as service:
        ready = await service.stranger.get("/health/ready")
        health = await service.client.get("/api/llm/health")
        nameless = await service.client.post("/api/llm/generate", json={"prompt": "Hi"})
        refused = await service.client.post("/api/llm/generate", json={"model": "llama3.2", "prompt": "Hi"})
        pool = services_of(service.app.extensions).get(BackendPool)
        shown = banner(settings, 8000, await pool.probe())
    assert (ready.status_code, health.status_code, refused.status_code) == (503, 503, 502)
    sentence = ready.json()["reason"]
    assert "`ollama pull llama3.2`" in sentence
    assert (MISSING in sentence) == (engine == "auto")
    assert health.json()["backends"][0]["error"] == sentence
    assert refused.json()["error"] == sentence
    assert nameless.json()["error"].endswith(sentence)
    (line,) = [line for line in shown.splitlines() if line.startswith("  backend")]
    assert line.endswith(sentence)
    assert "Traceback" not in shown


async def test_a_named_backend_is_the_operators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who named a backend is told what is wrong with it, and not to install another."""
    async with serving(settings_for(f"http://127.0.0.1:{free_port()}")) as service:
        assert (await service.stranger.get("/health/ready")).json()["reason"] == "The backend refuses connections."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "API_KEY=secret-value-of-mine\n".encode("utf-16"),
            "it is UTF-16, as a redirect in Windows PowerShell writes it",
        ),
        ("API_KEY=secret-value-of-mine\n".encode("utf-16-le"), "it is UTF-16"),
        ("API_KEY=schlüssel\n".encode("latin-1"), "it is not UTF-8"),
    ],
    ids=["utf-16", "without a mark", "latin-1"],
)
def test_a_file_that_cannot_be_decoded_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    """An `.env` in another encoding is told in one line, which names the file, the encoding and none of its content."""
    path = tmp_path / ".env"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(path))
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(path))
    assert message.endswith("save it as UTF-8")
    assert "secret" not in message
    assert "\n" not in message
