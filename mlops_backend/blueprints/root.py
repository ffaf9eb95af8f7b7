"""The service itself: what it is, whether it lives, whether it is ready."""

from __future__ import annotations

from typing import Final

from quart import Blueprint, Response, redirect, request
from quart.typing import ResponseReturnValue
from quart_schema import document_response, operation_id, tag, validate_response

from mlops_backend.middleware.auth import wants_html, wants_json
from mlops_backend.middleware.request_context import service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.openapi import document_media_types, document_open
from mlops_backend.schemas.service import HealthResponse, ReadyResponse, ServiceResponse
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.other.info import InfoService
from mlops_backend.services.other.whole import Whole

# Ollama's own answer at its base address: some of its clients look for exactly that.
_OLLAMAS: Final = "Ollama is running"
_STOPPING: Final = "The service is stopping."
# Strangers may read it: where the database is, and what is wrong with it, is in the log.
_WITHOUT_DATABASE: Final = (
    "The database cannot be read and written: new keys, usage and stored conversations are 503. The log says why."
)

blueprint = Blueprint("root", __name__)


@blueprint.get("/")
@tag(["service"])
@document_response(ServiceResponse, 200)
@document_media_types(200, "application/json", "text/plain")
@document_media_types(302, "text/html")
async def describe_service() -> ResponseReturnValue:
    """Say what this is.

    Name, version and links, to whom `Accept` names JSON. A browser is sent to the console, or to the documentation
    where only that is enabled. Everybody else is told `Ollama is running`, as an Ollama tells its clients.
    """
    if not wants_json(request.headers) and not wants_html(request.headers):
        return _as_ollama()
    info = service(InfoService)
    docs, console = info.features["docs"], info.features["console"]
    if request.method == "HEAD":
        return Response("", content_type="application/json", headers={"Vary": "Accept"})
    if (docs or console) and wants_html(request.headers):
        answer = redirect(
            "console/" if console else "docs", 302
        )  # from where the browser is, whatever a proxy calls that
        answer.headers["Vary"] = "Accept"
        return answer
    paths = {"health": "/health", "models": "/api/llm/models", "stream": "/api/llm/stream"}
    if docs:
        paths |= {"docs": "/docs", "openapi": "/openapi.json"}
    if console:
        paths["console"] = "/console/"
    links = {name: public_path(path) for name, path in paths.items()}
    body = ServiceResponse(name="mlops_backend", version=info.version, links=links)
    return body.model_dump(), 200, {"Vary": "Accept"}


def _as_ollama() -> Response:
    text = "" if request.method == "HEAD" else _OLLAMAS
    answer = Response(text, content_type="text/plain; charset=utf-8", headers={"Vary": "Accept"})
    answer.headers["Content-Length"] = str(len(_OLLAMAS))
    return answer


@blueprint.get("/health")
@tag(["service"])
@document_open
@validate_response(HealthResponse)
async def check_health() -> HealthResponse:
    """Say that the process runs.

    Asks no backend; for that there is `/health/ready`.
    """
    return HealthResponse(status="ok", version=service(InfoService).version)


@blueprint.get("/health/live")
@tag(["service"])
@document_open
@operation_id("check_liveness")
@validate_response(HealthResponse)
async def check_liveness() -> HealthResponse:
    """Liveness: the process runs.

    The same as `/health`, under the name that orchestrators look for.
    """
    return HealthResponse(status="ok", version=service(InfoService).version)


@blueprint.get("/health/ready")
@tag(["service"])
@document_open
@document_response(ReadyResponse, 503)
@document_response(ReadyResponse, 200)
async def check_readiness() -> ResponseReturnValue:
    """Readiness: a new generation would be taken now.

    503 while the service drains, or when no backend answers; `reason` says which, and what to do. A service whose
    database is away goes on, and is ready; `degraded` says then what it cannot do.
    """
    state = await service(Whole).state()
    degraded = {"degraded": _WITHOUT_DATABASE} if state.degraded else {}
    reason = _STOPPING if state.stopping else await service(OllamaService).unreachable()
    if reason is None:
        return {"status": "ready", **degraded}, 200
    return {**degraded, "status": "not_ready", "reason": reason}, 503, {"Retry-After": "5"}
