"""Connections in every state in which they may break, each with a key and a prompt that can be known again."""

from trial import wire
from trial.case import GENERATE
from trial.service import KEYS

MARKED_PROMPT = "a-prompt-that-no-log-may-show"
MARKED_GUESS = "a-wrong-key-that-no-log-may-show"
MARKS = (KEYS["marked"], MARKED_PROMPT, MARKED_GUESS)
NAME = b"the-name-of-the-request"
HEADERS = {"X-API-Key": KEYS["marked"], "X-Request-ID": NAME.decode()}
BODY = {"model": "trial", "prompt": MARKED_PROMPT}
WHOLE = wire.post(GENERATE, BODY, HEADERS)
STREAM = wire.post("/api/llm/stream", {"model": "flood", "prompt": MARKED_PROMPT}, HEADERS)
GUESS = wire.post(GENERATE, BODY, {"Authorization": f"Bearer {MARKED_GUESS}"})
JSON = {"Content-Type": "application/json", **HEADERS}
CHUNKED = wire.head("POST", GENERATE, {**JSON, "Transfer-Encoding": "chunked"})
PIECE = f'{{"model": "trial", "prompt": "{MARKED_PROMPT}"'.encode()
TEXT = KEYS["marked"].encode()
# A client's hello, cut: its name of the server is the mark.
HELLO = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x07" * 32 + b"\x00\x00\x02\x13\x01" + TEXT
# A HEADERS frame of HTTP/2 with a literal field.
FRAMES = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x40\1\5\0\0\0\1" + b"\0\x05x-key" + TEXT

BROKEN = {
    "mid-head": WHOLE[: WHOLE.index(b"\r\n\r\n") - 1],
    "mid-body": WHOLE[:-2],
    "mid-answer": WHOLE,
    "mid-stream": STREAM,
    "unknown key": GUESS,
    "TLS": HELLO,
    "HTTP/2": FRAMES,
    "bad JSON": wire.post(GENERATE, PIECE, HEADERS),
    "bad schema": wire.post(GENERATE, {"model": "trial", "prompt": [MARKED_PROMPT]}, HEADERS),
    "mid-chunk": CHUNKED + b"%x\r\n" % (len(PIECE) + 10) + PIECE,
    "bad chunk": CHUNKED + b"%x\r\n" % len(PIECE) + PIECE + b"no chunk " + PIECE,
    "key in the path": wire.head("GET", f"/k/{KEYS['marked']}/api/tags", {}),
    "key in the query": wire.head("GET", f"/api/tags?key={KEYS['marked']}", {}),
}
# What the server answers without the application.
ANSWERED = {
    "bad header": wire.head("POST", GENERATE, {**JSON, "X-Bad\0Name": MARKED_PROMPT, "Content-Length": "0"}),
    "bad value": wire.head("POST", GENERATE, {**JSON, "X-Bad": f"\x01{MARKED_PROMPT}", "Content-Length": "0"}),
    "no header": wire.head("GET", "/health", JSON)[:-2] + MARKED_PROMPT.encode() + b"\r\n\r\n",
    "bad request line": f"GET {MARKED_PROMPT} {KEYS['marked']}\r\n\r\n".encode(),
    "two lengths": wire.head("POST", GENERATE, {**JSON, "Content-Length": "7", "content-length": "8"}) + PIECE,
    "bad length": wire.head("POST", GENERATE, {**JSON, "Content-Length": "seven"}) + PIECE,
    "length and chunks": wire.head("POST", GENERATE, {**JSON, "Content-Length": "7", "Transfer-Encoding": "chunked"})
    + b"%x\r\n" % len(PIECE)
    + PIECE
    + b"\r\n0\r\n\r\n",
    "too large": wire.head("GET", "/health", {**HEADERS, "X-Large": MARKED_PROMPT * 10000}),
    "unknown coding": wire.head("POST", GENERATE, {**JSON, "Transfer-Encoding": "gzip"}) + PIECE,
}
