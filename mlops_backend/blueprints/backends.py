"""The backends, for administrators."""

from __future__ import annotations

from quart import Blueprint
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag

from mlops_backend.middleware.request_context import service
from mlops_backend.schemas.backends import BackendListResponse, BackendResponse
from mlops_backend.services.llm.backends import BackendDesk

blueprint = Blueprint("admin_backends", __name__, url_prefix="/api/admin/backends")


@blueprint.get("")
@tag(["backends"])
@document_response(BackendListResponse, 200)
async def list_backends() -> ResponseReturnValue:
    """List the backends.

    In the order of the settings and of `BACKENDS_FILE`, each as it was found at most two seconds ago. `file_error` says
    why the file, as it is now, is not in use: what was read before it counts.
    """
    return await service(BackendDesk).listed()


@blueprint.post("/<path:name>/drain")
@tag(["backends"])
@document_response(BackendResponse, 200)
async def drain_backend(name: str) -> ResponseReturnValue:
    """Give a backend no new generation.

    What it runs goes on. What needs a backend and finds none but drained ones is 503. It holds in all workers of the
    service, also while the backend is taken out of the file and put back, until `resume` or the service's end; other
    replicas have to be told themselves.
    """
    return await service(BackendDesk).drain(name)


@blueprint.post("/<path:name>/resume")
@tag(["backends"])
@document_response(BackendResponse, 200)
async def resume_backend(name: str) -> ResponseReturnValue:
    """Give a drained backend generations again.

    For one that is not drained nothing changes.
    """
    return await service(BackendDesk).resume(name)


@blueprint.post("/<path:name>/probe")
@tag(["backends"])
@document_response(BackendResponse, 200)
async def probe_backend(name: str) -> ResponseReturnValue:
    """Ask a backend now how it is.

    What it says, or why it does not, is the answer, and what the service knows of it from then on. It takes
    `CONNECT_TIMEOUT` at most.
    """
    return await service(BackendDesk).probe(name)
