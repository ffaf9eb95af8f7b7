"""Which paths and methods the fake Ollama serves, and what its router says about all others."""

from collections.abc import Collection
from urllib.parse import unquote

from tests.fakes.http11 import Reply, Request
from tests.fakes.ollama_errors import NO_ROUTE, Refused
from tests.fakes.ollama_shapes import TEXT_TYPE

READ = ("GET", "HEAD")
ONLY_GET = ("GET",)
ONLY_POST = ("POST",)
NATIVE_INFERENCE = frozenset({"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"})
V1_INFERENCE = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/audio/transcriptions",
    }
)
INFERENCE = NATIVE_INFERENCE | V1_INFERENCE
PROGRESS = frozenset({"/api/pull", "/api/push", "/api/create"})
PROBES = frozenset({"/api/version", "/api/tags"})
BLOB = "/api/blobs/:digest"
MODEL = "/v1/models/:model"
KEY = "/api/user/keys/:encodedKey"
ROUTES: dict[str, tuple[str, ...]] = {
    "/": READ,
    "/api/version": READ,
    "/api/status": ONLY_GET,
    "/api/tags": READ,
    "/api/ps": ONLY_GET,
    "/api/show": ONLY_POST,
    **dict.fromkeys(sorted(INFERENCE | PROGRESS), ONLY_POST),
    "/api/copy": ONLY_POST,
    "/api/delete": ("DELETE",),
    BLOB: ("HEAD", "POST"),
    "/api/me": ONLY_POST,
    "/api/signout": ONLY_POST,
    KEY: ("DELETE",),
    "/api/experimental/web_search": ONLY_POST,
    "/api/experimental/web_fetch": ONLY_POST,
    "/api/experimental/model-recommendations": ONLY_GET,
    "/v1/models": ONLY_GET,
    MODEL: ONLY_GET,
}
WITH_PARAMETER = {route.partition(":")[0]: route for route in (BLOB, MODEL, KEY)}


def route_of(path: str) -> tuple[str, str]:
    """Return the route that a path belongs to, if there is one, and the value of its parameter."""
    path = unquote(path)
    prefix, _, value = path.rpartition("/")
    if value and (route := WITH_PARAMETER.get(f"{prefix}/")):
        return route, value
    return ("" if ":" in path else path), ""


def check_route(request: Request, lacks: Collection[str] = ()) -> tuple[str, str]:
    """Return a request's route and its parameter; refuse what the router and the CORS check refuse."""
    if request.header("origin"):
        raise Refused(Reply(403))
    route, value = route_of(request.path)
    methods = ROUTES.get(route)
    if methods is None or not {route, request.path}.isdisjoint(lacks):
        raise Refused(NO_ROUTE)
    if request.method not in methods:
        raise Refused(Reply(405, TEXT_TYPE, b"405 method not allowed", {"Allow": ", ".join(methods)}))
    return route, value
