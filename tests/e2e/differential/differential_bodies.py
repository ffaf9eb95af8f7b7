"""Bodies and request lines as a client library would never send them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Final

from zstandard import ZstdCompressor

from tests.e2e.differential.differential_case import JSON_TYPE, Case, generate, get, post

WHOLE: Final = generate().request.body or b""
OPEN: Final = WHOLE[:-1]
# Each of them goes to /api/generate, and to an OpenAI route with what that needs.
BODIES: Final[dict[str, bytes | None]] = {
    "none": None,
    "empty": b"",
    "white space only": b" \n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"7",
    "text": b'"tiny"',
    "list": b'[{"model":"tiny"}]',
    "empty object": b"{}",
    "garbage": b"model=tiny&prompt=Why",
    "html": b"<html></html>",
    "cut": OPEN,
    "cut in a string": WHOLE[: WHOLE.index(b"Why") + 1],
    "cut in an escape": b'{"model":"tiny","prompt":"\\u00',
    "comma at the end": OPEN + b",}",
    "single quotes": WHOLE.replace(b'"', b"'"),
    "comment": b"/* a */" + WHOLE,
    "unquoted name": b'{model:"tiny"}',
    "NaN": OPEN + b',"x":NaN}',
    "Infinity": OPEN + b',"x":Infinity}',
    "leading zero": OPEN + b',"x":01}',
    "plus": OPEN + b',"x":+1}',
    "huge number": OPEN + b',"x":1e999}',
    "long integer": OPEN + b',"x":' + b"9" * 5000 + b"}",
    "raw control": OPEN + b',"x":"a\x01b"}',
    "raw line break": OPEN + b',"x":"a\nb"}',
    "bad escape": OPEN + b',"x":"\\x41"}',
    "bad UTF-8": OPEN + b',"x":"\xff\xfe"}',
    "bad UTF-8 prompt": WHOLE.replace(b"Why?", b"a\xff\xc3b"),
    "BOM": b"\xef\xbb\xbf" + WHOLE,
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "garbage behind": WHOLE + b"garbage",
    "brace behind": WHOLE + b"}",
    "object behind": WHOLE + b'{"model":"nope"}',
    "nul behind": WHOLE + b"\x00",
    "white space behind": WHOLE + b" \r\n\t\n",
    "white space before": b" \r\n\t\n" + WHOLE,
    "much white space behind": WHOLE + b" " * 5000,
    "vertical tab before": b"\x0b" + WHOLE,
    "deep": OPEN + b',"x":' + b"[" * 300 + b"]" * 300 + b"}",
    "wide": OPEN + b',"x":[' + b"1," * 50_000 + b"1]}",
    "twice": b'{"model":"nope","model":"tiny",' + WHOLE[1:],
    "twice, unknown last": OPEN + b',"model":"nope"}',
    "variant": WHOLE.replace(b'"model"', b'"MODEL"'),
    "variant last": b'{"model":"nope","Model":"tiny","prompt":"Why?","stream":false}',
    "variant first": b'{"Model":"nope","model":"tiny","prompt":"Why?","stream":false}',
    "variant unknown last": OPEN + b',"mOdEl":"nope"}',
    "variant by Unicode": WHOLE.replace(b'"stream": false', '"\u017ftream": true'.encode()),
    "stream variant": OPEN + b',"STREAM":true}',
    "stream twice": OPEN + b',"stream":true}',
    "escaped name": WHOLE.replace(b'"model"', b'"\\u006dodel"'),
    "null last": OPEN + b',"model":null}',
    "wrong type last": OPEN + b',"model":7}',
    "name beside": OPEN + b',"name":"nope"}',
}
TYPES: Final = {
    "absent": (),
    "text": (("Content-Type", "text/plain"),),
    "form": (("Content-Type", "application/x-www-form-urlencoded"),),
    "multipart": (("Content-Type", "multipart/form-data; boundary=x"),),
    "latin": (("Content-Type", "application/json; charset=iso-8859-1"),),
    "garbage": (("Content-Type", "///;;;"),),
    "empty": (("Content-Type", ""),),
    "html wanted": (*JSON_TYPE, ("Accept", "text/html")),
    "nothing wanted": (*JSON_TYPE, ("Accept", "image/png")),
    "events wanted": (*JSON_TYPE, ("Accept", "text/event-stream")),
    "gzip wanted": (*JSON_TYPE, ("Accept-Encoding", "gzip, br, zstd")),
    "range": (*JSON_TYPE, ("Range", "bytes=0-1")),
    "condition": (*JSON_TYPE, ("If-None-Match", "*")),
    "method override": (*JSON_TYPE, ("X-HTTP-Method-Override", "DELETE")),
    "identity": (*JSON_TYPE, ("Content-Encoding", "identity")),
    "forwarded": (*JSON_TYPE, ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Prefix", "/x")),
    "cookie": (*JSON_TYPE, ("Cookie", "a=b")),
    "long": (*JSON_TYPE, ("X-Long", "x" * 8000)),
    "expect": (*JSON_TYPE, ("Expect", "100-continue")),
}
GZIP: Final = (*JSON_TYPE, ("Content-Encoding", "gzip"))
ZSTD: Final = (*JSON_TYPE, ("Content-Encoding", "zstd"))
_V1: Final = b'{"model":"tiny","max_tokens":3,"messages":[{"role":"user","content":"Why?"}],'


def _changed(case: Case, target: str = "", *, body: bytes | None = None, chunked: bool = False) -> Case:
    request = replace(case.request, target=target or case.request.target, chunked=chunked)
    return replace(case, request=request if body is None else replace(request, body=body))


def _cases() -> dict[str, Case]:
    streamed = generate(stream=True)
    cases = {f"body {name}": post("/api/generate", body) for name, body in BODIES.items()}
    cases |= {f"v1 body {name}": post("/v1/chat/completions", body) for name, body in BODIES.items()}
    cases |= {
        f"v1 body valid and {name}": post("/v1/chat/completions", body.replace(b"{", _V1, 1))
        for name, body in BODIES.items()
        if body and b'"model"' in body and body.strip().startswith(b"{") and b'{"model":"nope"}' not in body
    }
    cases |= {f"header {name}": post("/api/generate", WHOLE, headers) for name, headers in TYPES.items()}
    cases |= {
        "chunked": _changed(streamed, chunked=True),
        "chunked large": _changed(generate(prompt="why? " * 2000), chunked=True),
        "chunked empty": _changed(streamed, body=b"", chunked=True),
        "chunked garbage": _changed(streamed, body=b"[[", chunked=True),
        "chunked v1": _changed(post("/v1/chat/completions", _V1[:-1] + b"}"), chunked=True),
        "query": _changed(streamed, "/api/generate?stream=false&model=nope"),
        "query timestamp": _changed(streamed, "/api/generate?ts=1700000000"),
        "query empty": _changed(streamed, "/api/generate?"),
        "query garbage": _changed(streamed, "/api/generate?%zz&;"),
        "percent slash": _changed(streamed, "/api%2Fgenerate"),
        "percent letter": _changed(streamed, "/api/%67enerate"),
        "absolute": _changed(streamed, "http://{host}/api/generate"),
        "absolute other host": _changed(streamed, "http://localhost/api/generate"),
        "query on tags": get("/api/tags?x=1"),
        "percent get": get("/api%2ftags"),
        "body on get": Case(replace(post("/api/tags", WHOLE).request, method="GET")),
        "gzip": post("/api/generate", gzip.compress(WHOLE), GZIP),
        "gzip v1": post("/v1/chat/completions", gzip.compress(WHOLE), GZIP),
        "zstd": post("/api/generate", ZstdCompressor().compress(WHOLE), ZSTD),
        "zstd that is none": post("/api/generate", WHOLE, ZSTD),
        "gzip that is none": post("/v1/chat/completions", _V1[:-1] + b"}", GZIP),
        "gzip unnamed": post("/api/generate", gzip.compress(WHOLE)),
        "gzip unnamed v1": post("/v1/chat/completions", gzip.compress(WHOLE)),
    }
    return cases


CASES: Final = _cases()
