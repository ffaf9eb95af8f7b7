"""What is sent to an Ollama directly and through the service, and where the two answers differ on purpose."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from zstandard import ZstdCompressor

from tests.e2e.differential import differential_bodies, differential_generate, differential_models, differential_v1
from tests.e2e.differential.differential_bodies import OPEN, WHOLE
from tests.e2e.differential.differential_case import JSON_TYPE, Case, generate, get, post, request
from tests.e2e.differential.differential_models import DIGEST
from tests.e2e.differential.differential_v1 import chat_completion
from tests.service import ADMIN_KEY

# The service of the test is told this limit.
MAX_BODY_BYTES: Final = 1024 * 1024
CASES: Final[Mapping[str, Case]] = {
    **differential_generate.CASES,
    **differential_bodies.CASES,
    **differential_models.CASES,
    **differential_v1.CASES,
    "root": get("/"),
    "root head": get("/", "HEAD"),
    "root head without a key": replace(get("/", "HEAD"), key=""),
}
# Of each kind one that must succeed, lest the two agree about nothing but errors.
PLAIN: Final = (
    "generate plain",
    "generate streamed",
    "chat plain",
    "chat streamed",
    "embed list",
    "embeddings",
    "root",
    "version",
    "tags",
    "ps loaded",
    "show model",
    "create system",
    "copy",
    "delete",
    "blob",
    "blob chunked",
    "blob head known",
    "pull unknown registry",
    "push known",
    "v1 models",
    "v1 model known",
    "v1 chat streamed",
    "v1 chat usage",
    "v1 text streamed",
    "v1 embeddings text",
)


@dataclass(frozen=True)
class Difference:
    """Where the service does not answer what Ollama answers.

    Attributes:
        theirs: Ollama's status; that of 0.9.3 where it depends on the version.
        ours: the service's.
        case: what is asked.
        why: the reason.
    """

    theirs: int
    ours: int
    case: Case
    why: str


ROOT: Final = "the root describes this service to whom `Accept` names JSON"
OWN: Final = "errors of this service's own router are JSON of the route's family, never text"
ONE_NAME: Final = "a route has one name here, so that what is authorised is what is asked; Ollama redirects to it"
KEY: Final = "Ollama asks for no key; this service does"
ADMIN: Final = "models are managed with the administrator's key only"
ACCOUNT: Final = "it acts as the server's owner; 0.9.3 has no such route, so its answer would be 404 as well"
CLOUD: Final = "such names cost the server's owner money on newer Ollamas: refused unless ALLOW_CLOUD_MODELS"
DEEP: Final = "the body is read for authorisation, as deep as Python reads JSON"
CORS: Final = "browsers meet this service's CORS policy, not Ollama's list of origins"
HOST: Final = "Ollama's check of the host against DNS rebinding; here a key is needed anyway"
HEAD: Final = "like every 405 of this service, with a type; Ollama has none on its HEAD routes"
ZSTD: Final = "newer Ollamas take zstd on /v1, 0.9.3 reads it as JSON"
LIMIT: Final = "MAX_BODY_BYTES"
EXPECT: Final = "Go knows one expectation only; Hypercorn overlooks the others, as RFC 9110 allows"
CARRIED: Final = "an old Ollama has neither messages nor responses; they are carried over its own chat"
STORED: Final = "responses are stored by this service, and an Ollama has none"
COUNT: Final = "counting is estimated where the backend cannot"
SERVICE: Final = "a route of this service beside Ollama's"


def _with(case: Case, *headers: tuple[str, str], key: str | None = None, body: bytes | None = None) -> Case:
    changed = replace(case.request, headers=(*case.request.headers, *headers), body=body or case.request.body)
    return replace(case, request=changed, key=case.key if key is None else key)


def _deep(levels: int) -> Case:
    return post("/api/generate", OPEN + b',"x":' + b"[" * levels + b"]" * levels + b"}")


def _managed(method: str, target: str, body: Mapping[str, str] | None = None) -> Difference:
    case = Case(request(method, target, body))
    return Difference({"HEAD": 200, "DELETE": 404}.get(method, 400), 403, case, ADMIN)


def _account(method: str, target: str, key: str) -> Difference:
    return Difference(404, 403, Case(request(method, target), key=key), ACCOUNT)


_ZSTD: Final = ("Content-Encoding", "zstd")
_CHAT: Final = chat_completion().request.body or b""
_RESPONSE: Final = differential_v1.OLD_AND_NEW["/v1/responses"]
_MESSAGE: Final = differential_v1.OLD_AND_NEW["/v1/messages"]
DIFFERENCES: Final[Mapping[str, Difference]] = {
    "root for JSON": Difference(200, 200, _with(get("/"), ("Accept", "application/json")), ROOT),
    "root head for JSON": Difference(200, 200, _with(get("/", "HEAD"), ("Accept", "application/json")), ROOT),
    "health": Difference(404, 200, get("/health"), SERVICE),
    "documents": Difference(404, 200, get("/openapi.json"), SERVICE),
    "unknown": Difference(404, 404, get("/api/nope"), OWN),
    "unknown post": Difference(404, 404, post("/api/stop", {"model": "tiny"}), OWN),
    "unknown v1": Difference(404, 404, post("/v1/images/generations", {"model": "tiny"}), OWN),
    "unknown beside": Difference(404, 404, get("/metric"), OWN),
    "blob without digest": Difference(404, 404, get("/api/blobs", "POST"), OWN),
    "v1 model with a slash": Difference(404, 404, get("/v1/models/ns%2Ftiny"), OWN),
    "get of a post": Difference(405, 405, get("/api/chat"), OWN),
    "post of a get": Difference(405, 405, post("/api/tags", {}), OWN),
    "put": Difference(405, 405, Case(request("PUT", "/api/generate", WHOLE)), OWN),
    "delete by post": Difference(405, 405, post("/api/delete", {"model": "nope"}), OWN),
    "blob get": Difference(405, 405, Case(request("GET", f"/api/blobs/{DIGEST}"), key=ADMIN_KEY), OWN),
    "own method": Difference(405, 405, Case(request("BREW", "/api/chat")), OWN),
    "head of ps": Difference(405, 405, get("/api/ps", "HEAD"), HEAD),
    "head of v1": Difference(405, 405, get("/v1/models", "HEAD"), HEAD),
    "head of a post": Difference(405, 405, get("/api/chat", "HEAD"), HEAD),
    "slash behind": Difference(307, 404, post("/api/chat/", {}), ONE_NAME),
    "slash behind get": Difference(301, 404, get("/api/tags/"), ONE_NAME),
    "two slashes": Difference(301, 404, get("//api/tags"), ONE_NAME),
    "two slashes within": Difference(301, 404, get("/api//tags"), ONE_NAME),
    "dot": Difference(301, 404, get("/api/./tags"), ONE_NAME),
    "dots": Difference(301, 404, get("/api/chat/../tags"), ONE_NAME),
    "dots in a name": Difference(301, 404, get("/v1/models/.."), ONE_NAME),
    "bad percent": Difference(400, 404, get("/api/%zztags"), OWN),
    "no key": Difference(200, 401, replace(generate(), key=""), KEY),
    "no key v1": Difference(200, 401, replace(chat_completion(), key=""), KEY),
    "no key messages": Difference(404, 401, replace(post("/v1/messages", _MESSAGE), key=""), KEY),
    "wrong key": Difference(200, 401, replace(get("/api/tags"), key="wrong"), KEY),
    "no key version": Difference(200, 401, replace(get("/api/version"), key=""), KEY),
    "pull": _managed("POST", "/api/pull"),
    "push": _managed("POST", "/api/push"),
    "create": _managed("POST", "/api/create"),
    "copy": _managed("POST", "/api/copy"),
    "delete": _managed("DELETE", "/api/delete", {"model": "nope"}),
    "blob head": _managed("HEAD", f"/api/blobs/{DIGEST}"),
    "blob": _managed("POST", "/api/blobs/garbage"),
    "me": _account("POST", "/api/me", ADMIN_KEY),
    "signout": _account("POST", "/api/signout", ADMIN_KEY),
    "keys": _account("DELETE", "/api/user/keys/abc", ADMIN_KEY),
    "web search": _account("POST", "/api/experimental/web_search", ADMIN_KEY),
    "web fetch": _account("POST", "/api/experimental/web_fetch", ADMIN_KEY),
    "cloud": Difference(404, 403, generate(model="nope:cloud"), CLOUD),
    "cloud size": Difference(404, 403, chat_completion(model="nope:120b-cloud"), CLOUD),
    "cloud variant": Difference(404, 403, post("/api/generate", b'{"MODEL":"nope:Cloud"}'), CLOUD),
    "cloud show": Difference(404, 403, post("/api/show", {"name": "nope:cloud"}), CLOUD),
    "cloud v1": Difference(404, 403, get("/v1/models/nope:cloud"), CLOUD),
    # Python 3.13 reads as deep as Go.
    **({} if sys.version_info >= (3, 13) else {"deep": Difference(200, 400, _deep(5000), DEEP)}),
    # Python 3.14 reads as deep as its stack lets it, and leaves the refusal to Go.
    **({} if sys.version_info >= (3, 14) else {"too deep for Go": Difference(400, 400, _deep(20_000), DEEP)}),
    "strange origin": Difference(403, 200, _with(generate(), ("Origin", "http://evil.example")), CORS),
    "local origin": Difference(200, 200, _with(generate(), ("Origin", "http://localhost")), CORS),
    "preflight": Difference(
        204,
        200,
        _with(get("/api/chat", "OPTIONS"), ("Origin", "http://localhost"), ("Access-Control-Request-Method", "POST")),
        CORS,
    ),
    "options": Difference(405, 200, get("/api/tags", "OPTIONS"), CORS),
    "strange host": Difference(403, 200, _with(get("/api/tags"), ("Host", "evil.example")), HOST),
    "zstd v1": Difference(400, 200, _with(chat_completion(), _ZSTD, body=ZstdCompressor().compress(_CHAT)), ZSTD),
    "zstd garbage": Difference(400, 400, _with(chat_completion(), _ZSTD, body=b"garbage"), ZSTD),
    "large": Difference(200, 413, post("/api/generate", WHOLE + b" " * MAX_BODY_BYTES), LIMIT),
    "expectation": Difference(417, 200, post("/api/generate", WHOLE, (*JSON_TYPE, ("Expect", "luck"))), EXPECT),
    "messages": Difference(404, 200, post("/v1/messages", _MESSAGE), CARRIED),
    "messages streamed": Difference(404, 200, post("/v1/messages", {**_MESSAGE, "stream": True}), CARRIED),
    "messages unknown": Difference(404, 404, post("/v1/messages", {**_MESSAGE, "model": "nope"}), CARRIED),
    "responses": Difference(404, 200, post("/v1/responses", _RESPONSE), CARRIED),
    "responses streamed": Difference(404, 200, post("/v1/responses", {**_RESPONSE, "stream": True}), CARRIED),
    "responses unknown": Difference(404, 404, post("/v1/responses", {**_RESPONSE, "model": "nope"}), CARRIED),
    "response": Difference(404, 404, get("/v1/responses/resp_1"), STORED),
    "response deleted": Difference(404, 404, get("/v1/responses/resp_1", "DELETE"), STORED),
    "response's input": Difference(404, 404, get("/v1/responses/resp_1/input_items"), STORED),
    "count tokens": Difference(404, 200, post("/v1/messages/count_tokens", _MESSAGE), COUNT),
}
