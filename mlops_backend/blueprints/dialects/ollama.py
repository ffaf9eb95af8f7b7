"""Ollama's own API, as Ollama serves it: bytes in, bytes out.

The routes and their bodies are Ollama's (https://github.com/ollama/ollama/blob/main/docs/api.md). What is ours is who
may use them (`middleware/access.py`) and which backend is asked.
"""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import tag

from mlops_backend.middleware.drop_in import answer, forward, framed_headers, segment, uploaded
from mlops_backend.openapi import BYTES, NDJSON, document_relayed, document_sent
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Asked

blueprint = Blueprint("ollama", __name__, url_prefix="/api")


@blueprint.get("/version")
@tag(["ollama"])
@document_relayed()
async def get_version() -> Response:
    """Say which Ollama it is.

    Of several backends, the oldest one's version.
    """
    return await forward(tasks.READ)


@blueprint.get("/status")
@tag(["ollama"])
@document_relayed()
async def get_status() -> Response:
    """Say whether the server's cloud features are on.

    Newer servers have it; from others it is their 404.
    """
    return await forward(tasks.READ)


@blueprint.get("/tags")
@tag(["ollama"])
@document_relayed()
async def list_tags() -> Response:
    """List the models.

    Those of all backends together.
    """
    return await forward(tasks.READ)


@blueprint.get("/ps")
@tag(["ollama"])
@document_relayed()
async def list_running() -> Response:
    """List the models that are loaded.

    Those of all backends together.
    """
    return await forward(tasks.READ)


@blueprint.get("/experimental/model-recommendations")
@tag(["ollama"])
@document_relayed()
async def list_recommendations() -> Response:
    """List the models that the server recommends.

    Newer servers have it; from others it is their 404.
    """
    return await forward(tasks.READ)


@blueprint.post("/show")
@tag(["ollama"])
@document_relayed({"model": "smollm2:135m"})
async def show_model() -> Response:
    """Tell all about one model.

    The first backend that has it is asked.
    """
    return await forward(tasks.SHOW)


@blueprint.post("/generate")
@tag(["ollama"])
@document_relayed(
    {"model": "smollm2:135m", "prompt": "Why is the sky blue?", "options": {"num_predict": 40}},
    NDJSON,
    "application/json",
)
async def generate_natively() -> Response:
    """Complete a prompt, as Ollama does.

    Streamed, one JSON object a line, unless `stream` is false.
    """
    return await forward(tasks.GENERATE)


@blueprint.post("/chat")
@tag(["ollama"])
@document_relayed(
    {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Name a colour."}]}, NDJSON, "application/json"
)
async def chat_natively() -> Response:
    """Continue a conversation, as Ollama does.

    Streamed, one JSON object a line, unless `stream` is false.
    """
    return await forward(tasks.GENERATE)


@blueprint.post("/embed")
@tag(["ollama"])
@document_relayed({"model": "smollm2:135m", "input": ["The sky is blue.", "Grass is green."]})
async def embed_natively() -> Response:
    """Embed one text or several, as Ollama does.

    Vectors have length 1.
    """
    return await forward(tasks.EMBED)


@blueprint.post("/embeddings")
@tag(["ollama"])
@document_relayed({"model": "smollm2:135m", "prompt": "The sky is blue."})
async def embed_one() -> Response:
    """Embed one text, by Ollama's older route.

    The vector is as the model makes it.
    """
    return await forward(tasks.EMBED)


@blueprint.post("/pull")
@tag(["ollama"])
@document_relayed({"model": "smollm2:135m"}, NDJSON, "application/json")
async def pull_model() -> Response:
    """Download a model.

    To the first backend, with the administrator's key. Progress is streamed unless `stream` is false; a client that
    leaves ends the download, and the next one goes on from there.
    """
    return await forward(tasks.PULL)


@blueprint.post("/push")
@tag(["ollama"])
@document_relayed({"model": "smollm2:135m"}, NDJSON, "application/json")
async def push_model() -> Response:
    """Upload a model to its registry.

    With the administrator's key, and the account of the server's owner.
    """
    return await forward(tasks.PUSH)


@blueprint.post("/create")
@tag(["ollama"])
@document_relayed({"model": "brief", "from": "smollm2:135m", "system": "Be brief."}, NDJSON, "application/json")
async def create_model() -> Response:
    """Make a model from another one, or from files.

    On the first backend, where the uploaded blobs are; with the administrator's key.
    """
    return await forward(tasks.CREATE)


@blueprint.post("/copy")
@tag(["ollama"])
@document_relayed({"source": "smollm2:135m", "destination": "smollm2-copy"}, empty=True)
async def copy_model() -> Response:
    """Give a model a second name.

    With the administrator's key.
    """
    return await forward(tasks.COPY)


@blueprint.delete("/delete")
@tag(["ollama"])
@document_relayed({"model": "smollm2-copy"}, empty=True)
async def delete_model() -> Response:
    """Delete a model.

    From the first backend that has it; with the administrator's key.
    """
    return await forward(tasks.DELETE)


@blueprint.route("/blobs/<digest>", methods=["HEAD"])
@tag(["ollama"])
@document_relayed(empty=True)
async def check_blob(digest: str) -> Response:
    """Say whether a blob is there.

    On the first backend; with the administrator's key.
    """
    return await forward(tasks.BLOB, f"/api/blobs/{segment(digest)}")


@blueprint.post("/blobs/<digest>")
@tag(["ollama"])
@document_sent(BYTES, {"type": "string", "format": "binary"})
@document_relayed(empty=True, also=201)
async def upload_blob(digest: str) -> Response:
    """Upload a blob.

    To the first backend, of any size and for as long as it takes; with the administrator's key.
    """
    path = f"/api/blobs/{segment(digest)}"
    return await answer(Asked(tasks.BLOB, "POST", path, framed_headers(), uploaded()))


@blueprint.post("/me")
@tag(["ollama"])
@document_relayed()
async def describe_owner() -> Response:
    """Say who owns the server.

    Off unless `ALLOW_ACCOUNT_ROUTES`; with the administrator's key.
    """
    return await forward(tasks.ACCOUNT)


@blueprint.post("/signout")
@tag(["ollama"])
@document_relayed()
async def sign_owner_out() -> Response:
    """Sign the server's owner out.

    Off unless `ALLOW_ACCOUNT_ROUTES`; with the administrator's key.
    """
    return await forward(tasks.ACCOUNT)


@blueprint.delete("/user/keys/<key>")
@tag(["ollama"])
@document_relayed()
async def delete_owners_key(key: str) -> Response:
    """Sign the server's owner out, by the older route.

    Off unless `ALLOW_ACCOUNT_ROUTES`; with the administrator's key.
    """
    return await forward(tasks.ACCOUNT, f"/api/user/keys/{segment(key)}")


@blueprint.post("/experimental/web_search")
@tag(["ollama"])
@document_relayed({"query": "sky"})
async def search_web() -> Response:
    """Search the web, on the owner's account.

    Off unless `ALLOW_ACCOUNT_ROUTES`; with the administrator's key.
    """
    return await forward(tasks.ACCOUNT)


@blueprint.post("/experimental/web_fetch")
@tag(["ollama"])
@document_relayed({"url": "https://example.org"})
async def fetch_page() -> Response:
    """Fetch a page, on the owner's account.

    Off unless `ALLOW_ACCOUNT_ROUTES`; with the administrator's key.
    """
    return await forward(tasks.ACCOUNT)
