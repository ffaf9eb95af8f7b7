"""The client library `ollama`, sync and async, manages models through the service with the administrator's key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.e2e.clients.clients import Caller, Faked, calling
from tests.fakes.ollama import Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings", "faked")]
CLIENTS = [ollama.Client, ollama.AsyncClient]
SIZE = 100_000
REFUSAL = "This route needs a key with the scope models:write."
PROGRESSING: dict[str, dict[str, Any]] = {
    "pull": {"model": "fresh"},
    "push": {"model": "llama3"},
    "create": {"model": "mine", "from_": "llama3", "system": "Be brief.", "parameters": {"num_ctx": 64}},
}
MANAGING: dict[str, Mapping[str, Any]] = {
    **PROGRESSING,
    "copy": {"source": "llama3", "destination": "again"},
    "delete": {"model": "llama3"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS, ids=["sync", "async"])
async def admin(request: pytest.FixtureRequest, faked_for_module: Faked) -> AsyncIterator[Caller]:
    """A client with the administrator's key."""
    async with calling(request.param(faked_for_module.service.url, headers={"X-API-Key": ADMIN_KEY})) as call:
        yield call


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS, ids=["sync", "async"])
async def tester(request: pytest.FixtureRequest, faked_for_module: Faked) -> AsyncIterator[Caller]:
    """A client with an ordinary key."""
    async with calling(request.param(faked_for_module.service.url, headers={"X-API-Key": ORDINARY_KEY})) as call:
        yield call


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file to upload."""
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF" + bytes(SIZE - 4))
    return file


@pytest.mark.parametrize("method", PROGRESSING)
async def test_progress_streams(admin: Caller, faked: Faked, method: str) -> None:
    """A streamed pull, push or create tells its steps, success at last."""
    parts = await admin(method, **PROGRESSING[method], stream=True)
    assert len(parts) > 2
    assert parts[-1].status == "success"
    assert faked.fake.requests[-1].path == f"/api/{method}"
    assert faked.fake.requests[-1].header("x-api-key") is None


@pytest.mark.parametrize("method", PROGRESSING)
async def test_progress_is_awaited(admin: Caller, method: str) -> None:
    """Without a stream the answer is the success alone."""
    assert (await admin(method, **PROGRESSING[method])).status == "success"


async def test_models_come_and_go(admin: Caller, faked: Faked) -> None:
    """What is pulled, copied or created is listed, what is deleted is not."""
    await admin("pull", "fresh")
    await admin("create", "mine", from_="llama3")
    assert (await admin("copy", "llama3", "again")).status == "success"
    assert (await admin("delete", "llama3")).status == "success"
    assert {model.model for model in (await admin("list")).models} == {"fresh:latest", "mine:latest", "again:latest"}
    assert set(faked.fake.models) == {"fresh:latest", "mine:latest", "again:latest"}


async def test_blobs_are_uploaded(admin: Caller, faked: Faked, weights: Path) -> None:
    """A file arrives whole, with its length or in chunks, and its digest makes a model."""
    digest = await admin("create_blob", weights)
    assert faked.fake.blobs == {digest: SIZE}
    assert (await admin("create", "mine", files={"weights.gguf": digest})).status == "success"


@pytest.mark.parametrize("method", MANAGING)
async def test_ordinary_keys_manage_nothing(tester: Caller, faked: Faked, method: str) -> None:
    """An ordinary key is refused with our sentence, and the backend is not asked."""
    with pytest.raises(ollama.ResponseError) as caught:
        await tester(method, **MANAGING[method])
    assert (caught.value.error, caught.value.status_code) == (REFUSAL, 403)
    assert not faked.fake.requests


async def test_ordinary_keys_upload_nothing(tester: Caller, faked: Faked, weights: Path) -> None:
    """An upload with an ordinary key is refused before it arrives."""
    with pytest.raises(ollama.ResponseError) as caught:
        await tester("create_blob", weights)
    assert (caught.value.error, caught.value.status_code) == (REFUSAL, 403)
    assert not faked.fake.requests


@pytest.mark.parametrize("mode", [Mode.ERROR_MID_STREAM, Mode.CUT_MID_STREAM, Mode.NO_DONE])
async def test_broken_pulls_raise(admin: Caller, faked: Faked, mode: Mode) -> None:
    """A pull that dies midway is an error, never a silent end."""
    faked.fake.mode = mode
    with pytest.raises(ollama.ResponseError):
        await admin("pull", "fresh", stream=True)


@pytest.mark.parametrize(
    ("method", "arguments"), [("delete", {"model": "nobody"}), ("copy", {"source": "nobody", "destination": "again"})]
)
async def test_unknown_models(admin: Caller, method: str, arguments: dict[str, str]) -> None:
    """What is not there can be neither deleted nor copied: the sentence is Ollama's."""
    with pytest.raises(ollama.ResponseError, match=r"model .nobody. not found") as caught:
        await admin(method, **arguments)
    assert caught.value.status_code == 404
