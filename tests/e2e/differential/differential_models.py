"""Reading about models, embedding, and managing them: copies, blobs, creations and downloads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final

from tests.e2e.differential.differential_case import Case, Json, embed, get, manage, post, request
from tests.e2e.differential.differential_generate import KEEP_ALIVE, NAMES
from tests.e2e.tiny_ollama import MODEL
from tests.e2e.wire import Request
from tests.service import ADMIN_KEY

BLOB: Final = b"a blob of the differential test" * 100
DIGEST: Final = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
NOTHING: Final = f"sha256:{hashlib.sha256(b'').hexdigest()}"
OTHER: Final = f"sha256:{'0' * 64}"
# Nobody answers there, and no name has to be looked up.
NOBODY: Final = "127.0.0.1:1/library"
BYTES: Final = (("Content-Type", "application/octet-stream"),)
INPUTS: Final[dict[str, Json]] = {
    "text": {"input": "Why?"},
    "list": {"input": ["Why?", "Because."]},
    "nothing": {},
    "null": {"input": None},
    "empty text": {"input": ""},
    "empty list": {"input": []},
    "empty texts": {"input": ["", ""]},
    "number": {"input": 7},
    "numbers": {"input": [1, 2]},
    "mixed": {"input": ["a", 1]},
    "object": {"input": {"a": 1}},
    "lists": {"input": [["a"]]},
    "true": {"input": True},
    "emoji": {"input": "👩‍👩‍👧 \u0085\u2028"},
    "surrogate": {"input": "\ud800"},
    "long": {"input": "why? " * 2000},
    "long uncut": {"input": "why? " * 2000, "truncate": False},
    "truncate text": {"input": "a", "truncate": "no"},
    "dimensions": {"input": "a", "dimensions": 8},
    "dimensions text": {"input": "a", "dimensions": "8"},
    "options": {"input": "a", "options": {"num_ctx": 64}},
    "options wrong": {"input": "a", "options": {"num_ctx": "64"}},
    "stream": {"input": "a", "stream": True},
    "prompt": {"prompt": "a"},
    "unload": {"input": "a", "keep_alive": 0},
}
SHOWN: Final[dict[str, Json]] = {
    "model": {"model": MODEL},
    "name": {"name": MODEL},
    "both": {"model": MODEL, "name": "nope"},
    "verbose": {"model": MODEL, "verbose": True},
    "verbose text": {"model": MODEL, "verbose": "yes"},
    "system": {"model": MODEL, "system": "Be brief.", "template": "{{ .Prompt }}"},
    "options": {"model": MODEL, "options": {"num_thread": 2}},
    "options wrong": {"model": MODEL, "options": 7},
    "nothing": {},
    "empty name": {"name": ""},
    "unknown name": {"name": "nope"},
}
CREATED: Final[dict[str, Json]] = {
    "from": {"from": MODEL},
    "from whole": {"from": MODEL, "stream": False},
    "from null stream": {"from": MODEL, "stream": None},
    "from text stream": {"from": MODEL, "stream": "no"},
    "system": {"from": MODEL, "system": "Be <brief> & naïve.", "parameters": {"temperature": 0, "stop": ["a", "b"]}},
    "messages": {"from": MODEL, "messages": [{"role": "user", "content": "Why?"}]},
    "template": {"from": MODEL, "template": "{{ .Prompt }}", "license": ["MIT", "ISC"]},
    "template garbage": {"from": MODEL, "template": "{{ .Prompt"},
    "parameter unknown": {"from": MODEL, "parameters": {"heat": 1}},
    "parameter wrong": {"from": MODEL, "parameters": {"num_ctx": "wide"}},
    "from unknown": {"from": f"{NOBODY}/nope"},
    "from unknown whole": {"from": f"{NOBODY}/nope", "stream": False},
    "from nothing": {},
    "from nothing whole": {"stream": False},
    "modelfile": {"modelfile": "FROM tiny"},
    "files unknown blob": {"files": {"a.gguf": OTHER}},
    "files unknown blob whole": {"files": {"a.gguf": OTHER}, "stream": False},
    "files not weights": {"files": {"a.gguf": DIGEST}},
    "files digest garbage": {"files": {"a.gguf": "garbage"}},
    "files outside": {"files": {"../a.gguf": OTHER}},
    "files and from": {"files": {"a.gguf": OTHER}, "from": MODEL},
    "quantize": {"from": MODEL, "quantize": "q4_0"},
    "quantize garbage": {"from": MODEL, "quantize": "q999"},
    "adapters": {"from": MODEL, "adapters": {"a.gguf": OTHER}},
    "from number": {"from": 7},
}
TRANSFERS: Final[dict[str, Json]] = {
    "unknown registry": {"model": f"{NOBODY}/nope"},
    "unknown registry whole": {"model": f"{NOBODY}/nope", "stream": False},
    "name": {"name": f"{NOBODY}/nope"},
    "nothing": {},
    "empty": {"model": ""},
    "bad name": {"model": "a b"},
    "insecure": {"model": f"http://{NOBODY}/nope", "insecure": True},
    "insecure whole": {"model": f"http://{NOBODY}/nope", "insecure": True, "stream": False},
    "plain http": {"model": f"http://{NOBODY}/nope"},
    "insecure text": {"model": "nope", "insecure": "yes"},
    "stream text": {"model": "nope", "stream": "yes"},
}


def delete(name: str) -> Request:
    """What takes a model away, if it is there."""
    return request("DELETE", "/api/delete", {"model": name})


def copy(name: str) -> Request:
    """What makes a copy of the model."""
    return request("POST", "/api/copy", {"source": MODEL, "destination": name})


# Ollama lists the models of one second in an order that changes.
ALONE: Final = (delete("made"), delete(f"{NOBODY}/made"))


def blob(digest: str, body: bytes = BLOB, *, chunked: bool = False, forgets: str = "") -> Case:
    """An upload."""
    upload = replace(request("POST", f"/api/blobs/{digest}", body, BYTES), chunked=chunked)
    return Case(upload, key=ADMIN_KEY, forgets=forgets)


def _read() -> dict[str, Case]:
    old: dict[str, Any] = {"model": MODEL, "prompt": "Why?"}
    cases = {
        "version": get("/api/version"),
        "version head": get("/api/version", "HEAD"),
        "tags": Case(request("GET", "/api/tags"), before=ALONE),
        "tags head": Case(request("HEAD", "/api/tags"), before=ALONE),
        "ps": get("/api/ps"),
        "ps loaded": Case(request("GET", "/api/ps"), before=(post("/api/generate", {"model": MODEL}).request,)),
        "status": get("/api/status"),
        "recommendations": get("/api/experimental/model-recommendations"),
        "embeddings": post("/api/embeddings", old),
        "embeddings empty": post("/api/embeddings", {**old, "prompt": ""}),
        "embeddings list": post("/api/embeddings", {**old, "prompt": ["a"]}),
        "embeddings input": post("/api/embeddings", {"model": MODEL, "input": "a"}),
        "embeddings unknown": post("/api/embeddings", {**old, "model": "nope"}),
        "embeddings nothing": post("/api/embeddings", {}),
        "embeddings no body": post("/api/embeddings", None),
        "embed no body": post("/api/embed", None),
        "embed garbage": post("/api/embed", b"garbage"),
        "show no body": post("/api/show", b""),
        "show copilot": post("/api/show", {"model": MODEL}, (("User-Agent", "GitHubCopilotChat/1.0"),)),
    }
    cases |= {f"embed {name}": embed(**fields) for name, fields in INPUTS.items()}
    cases |= {f"show {name}": post("/api/show", fields) for name, fields in SHOWN.items()}
    cases |= {f"embed model {key}": embed(model=name, input="a") for key, name in NAMES.items()}
    cases |= {f"show model {key}": post("/api/show", {"model": name}) for key, name in NAMES.items()}
    cases |= {f"embed keep_alive {key}": embed(input="a", keep_alive=value) for key, value in KEEP_ALIVE.items()}
    return cases


def _managed() -> dict[str, Case]:
    made, victim = delete("made"), "victim"
    cases = {
        "copy": manage("/api/copy", {"source": MODEL, "destination": "made"}, made),
        "copy over": manage("/api/copy", {"source": MODEL, "destination": "made"}),
        "copy long name": manage("/api/copy", {"source": "library/TINY:latest", "destination": "made"}, made),
        "copy unknown": manage("/api/copy", {"source": "nope", "destination": "made"}, made),
        "copy bad source": manage("/api/copy", {"source": "a b", "destination": "made"}, made),
        "copy bad destination": manage("/api/copy", {"source": MODEL, "destination": "a b"}),
        "copy empty destination": manage("/api/copy", {"source": MODEL, "destination": ""}),
        "copy nothing": manage("/api/copy", {}),
        "copy number": manage("/api/copy", {"source": 7, "destination": "made"}),
        "copy no body": manage("/api/copy", None),
        "delete": manage("/api/delete", {"model": victim}, copy(victim), method="DELETE"),
        "delete by name": manage("/api/delete", {"name": victim}, copy(victim), method="DELETE"),
        "delete upper": manage("/api/delete", {"model": victim.upper()}, copy(victim), method="DELETE"),
        "delete both": manage("/api/delete", {"model": victim, "name": "x"}, copy(victim), method="DELETE"),
        "delete unknown": manage("/api/delete", {"model": "nope"}, method="DELETE"),
        "delete bad": manage("/api/delete", {"model": "a b"}, method="DELETE"),
        "delete nothing": manage("/api/delete", {}, method="DELETE"),
        "delete number": manage("/api/delete", {"model": 7}, method="DELETE"),
        "delete no body": manage("/api/delete", None, method="DELETE"),
        "tags of several": Case(request("GET", "/api/tags"), before=(*ALONE, copy("made"))),
        "v1 models": Case(request("GET", "/v1/models"), before=ALONE),
        "v1 models of several": Case(request("GET", "/v1/models"), before=(*ALONE, copy("made"))),
    }
    for key, fields in CREATED.items():
        cases[f"create {key}"] = manage("/api/create", {"model": "made", **fields}, made)
    cases |= {
        "create by name": manage("/api/create", {"name": "made", "from": MODEL}, made),
        "create again": manage("/api/create", {"model": "made", "from": MODEL}),
        "create without model": manage("/api/create", {"from": MODEL}),
        "create bad name": manage("/api/create", {"model": "a b", "from": MODEL}),
        "create no body": manage("/api/create", None),
        "create garbage": manage("/api/create", b"{"),
        "push no body": manage("/api/push", None),
        "pull no body": manage("/api/pull", None),
        "pull nobody's": manage("/api/pull", {"model": "nope.invalid/library/nope"}),
        "push known": manage("/api/push", {"model": f"{NOBODY}/made"}, copy(f"{NOBODY}/made")),
        "push known whole": manage("/api/push", {"model": f"{NOBODY}/made", "stream": False}),
    }
    for key, fields in TRANSFERS.items():
        cases |= {f"pull {key}": manage("/api/pull", fields), f"push {key}": manage("/api/push", fields)}
    return cases


def _blobs() -> dict[str, Case]:
    heads = {
        "known": DIGEST,
        "unknown": OTHER,
        "dash": DIGEST.replace(":", "-"),
        "upper": DIGEST.upper(),
        "short": "sha256:abc",
        "no hash": "0" * 64,
        "other hash": f"sha512:{'0' * 64}",
        "garbage": "garbage",
        "long": "sha256:" + "0" * 65,
        "percent": DIGEST.replace(":", "%3A"),
        "percent letters": "%73ha256:" + "0" * 64,
        "unicode": "%C3%AF",
        "space": "%20",
        "nul": "%00",
        "query": f"{DIGEST}?x=1",
    }
    cases = {
        "blob": blob(DIGEST, forgets=DIGEST),
        "blob again": blob(DIGEST),
        "blob again chunked": blob(DIGEST, chunked=True),
        "blob chunked": blob(DIGEST, chunked=True, forgets=DIGEST),
        "blob wrong": blob(OTHER),
        "blob wrong chunked": blob(OTHER, chunked=True),
        "blob empty": blob(OTHER, b""),
        "blob empty chunked": blob(OTHER, b"", chunked=True),
        "blob no body": Case(request("POST", f"/api/blobs/{OTHER}"), key=ADMIN_KEY),
        "blob dash": blob(DIGEST.replace(":", "-"), forgets=DIGEST),
        "blob garbage": blob("garbage"),
        "blob short": blob("sha256:abc"),
        "blob percent": blob(DIGEST.replace(":", "%3A"), forgets=DIGEST),
        "blob nothing": blob(NOTHING, b"", forgets=NOTHING),
    }
    expecting = cases["blob"].request
    expecting = replace(expecting, headers=(*BYTES, ("Expect", "100-continue")))
    cases["blob expect"] = Case(expecting, key=ADMIN_KEY, forgets=DIGEST)
    cases |= {f"blob head {key}": Case(request("HEAD", f"/api/blobs/{d}"), key=ADMIN_KEY) for key, d in heads.items()}
    return cases


CASES: Final = {**_read(), **_blobs(), **_managed()}
