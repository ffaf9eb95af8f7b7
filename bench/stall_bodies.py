"""The bodies of the stall probe: of whatever a large one may be made, and the routes that take them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

SIZE = 30_000_000


def _filled(head: bytes, part: bytes, tail: bytes, between: bytes = b"", size: int = SIZE) -> bytes:
    count = max(1, (size - len(head) - len(tail)) // (len(part) + len(between)))
    return head + between.join([part] * count) + tail


def _list(part: bytes, size: int = SIZE) -> bytes:
    return _filled(b"[", part, b"]", b",", size)


def _names(count: int = 500_000) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(count)) + b"}"


# What a value may be made of.
VALUES: dict[str, Callable[[], bytes]] = {
    "one plain text": lambda: _filled(b'"', b"x", b'"'),
    "text of many languages": lambda: _filled(b'"', "é🙂ab ".encode(), b'"'),
    "escapes": lambda: _filled(b'"', b"a\\n", b'"'),
    "escapes of letters": lambda: _filled(b'"', b"\\u00e9", b'"'),
    "exponents": lambda: _list(b"1.5e10"),
    "integers": lambda: _list(b"1"),
    "500,000 names": _names,
    "objects": lambda: _list(b"{}"),
    "spaces": lambda: _filled(b"", b" ", b"1"),
    "short texts": lambda: _list(b'"some text of some words"'),
    "texts of 20 KB": lambda: _list(b'"' + b"some words " * 1800 + b'"'),
    "500,000 numbers": lambda: _list(b"1.5e10", 3_500_000),
    "100,000 objects": lambda: _list(b'{"a":1}', 800_000),
}
CALL = b'{"id":"call_1","function":{"name":"f","arguments":{"path":"/a","text":"some words"}}}'
MESSAGES: dict[str, Callable[[], bytes]] = {
    "a million messages": lambda: _list(b'{"role":"user","content":"x"}'),
    "9,000 messages": lambda: _list(b'{"role":"user","content":"' + b"some words " * 300 + b'"}'),
    "20,000 messages": lambda: _list(b'{"role":"user","content":"x"}', 600_000),
    "twelve images": lambda: _images(12),
    "one image": lambda: _images(1),
    "calls of tools": lambda: _list(
        b'{"role":"assistant","content":"' + b"x" * 900 + b'","tool_calls":[' + CALL + b"]}"
    ),
}


def _images(count: int) -> bytes:
    image = b'"iVBORw0KGgo' + b"QUJD" * (SIZE // count // 4 - 20) + b'A"'
    return b'[{"role":"user","content":"What is it?","images":[' + b",".join([image] * count) + b"]}]"


@dataclass(frozen=True)
class Case:
    """One body, and where it goes."""

    title: str
    path: str
    body: Callable[[], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    translated: bool = False


def with_member(name: str, value: bytes, model: str = "small", more: bytes = b"") -> bytes:
    """A body with a model and one large member."""
    return b'{"model":"%s",%s"stream":false,"%s":%s}' % (model.encode(), more, name.encode(), value)


def _cases_of(path: str, member: str, values: Mapping[str, Callable[[], bytes]], more: bytes = b"") -> Iterator[Case]:
    for title, made in values.items():
        for translated in (False, True) if not path.startswith("/v1/messages") else (False,):
            yield Case(title, path, lambda made=made: with_member(member, made(), more=more), {}, translated)  # type: ignore[misc]


def _large_answers() -> Iterator[Case]:
    prompt = (
        b'{"model":"large","stream":false,"messages":[{"role":"user","content":"Why?"}],"prompt":"Why?","input":"Why?",'
    )
    body = prompt + b'"max_tokens":5}'
    for path in ("/api/llm/chat", "/api/llm/generate", "/api/llm/embed", "/api/chat", "/api/embed"):
        for translated in (False, True):
            yield Case("a large answer", path, lambda: body, {}, translated)
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
        yield Case("a large answer", path, lambda: body)


def _compressed() -> bytes:
    from zstandard import ZstdCompressor

    text: bytes = ZstdCompressor().compress(with_member("messages", MESSAGES["9,000 messages"]()))
    return text


def cases() -> list[Case]:
    """Every body of the table."""
    texts = {name: made for name, made in VALUES.items() if "text" in name or "escapes" in name}
    return [
        *_cases_of("/api/llm/generate", "prompt", texts),
        *_cases_of("/api/llm/generate", "anything", VALUES),
        *_cases_of("/api/llm/chat", "messages", MESSAGES),
        *_cases_of("/api/llm/embed", "input", {name: VALUES[name] for name in ("short texts", "texts of 20 KB")}),
        *_cases_of("/api/generate", "prompt", texts),
        *_cases_of("/api/generate", "anything", VALUES),
        *_cases_of("/api/chat", "messages", MESSAGES),
        *_cases_of("/api/embed", "input", {name: VALUES[name] for name in ("short texts", "texts of 20 KB")}),
        *_cases_of("/v1/chat/completions", "anything", VALUES, b'"messages":[{"role":"user","content":"x"}],'),
        *_cases_of("/v1/chat/completions", "messages", MESSAGES),
        *_cases_of("/v1/messages", "messages", MESSAGES, b'"max_tokens":5,'),
        Case("compressed", "/v1/chat/completions", _compressed, {"Content-Encoding": "zstd"}),
        *_large_answers(),
        *_conversations(),
    ]


def _conversations() -> Iterator[Case]:
    create = "/api/database/conversations"
    for title in ("9,000 messages", "20,000 messages", "a million messages"):
        yield Case(title, create, lambda title=title: b'{"messages":' + MESSAGES[title]() + b"}")  # type: ignore[misc]
    for title, made in VALUES.items():
        yield Case(title, create, lambda made=made: b'{"anything":' + made() + b"}")  # type: ignore[misc]
    yield Case("2,000 messages", create, lambda: b'{"messages":' + stored(2000) + b"}")
    yield Case("2,000 messages", "{conversation}/append", lambda: b'{"messages":' + stored(1900) + b"}")
    yield Case("a question behind 30 MB", "{conversation}/messages", lambda: b'{"content":"x","stream":false}')
    yield Case("an export of 30 MB", create + "/import", lambda: _exported(1900))
    yield Case("messages", create + "/import", lambda: _exported(20_000, 20))


def stored(count: int) -> bytes:
    """Messages that a conversation is begun with."""
    return b"[" + b",".join([b'{"role":"user","content":"' + b"some words " * 1350 + b'"}'] * count) + b"]"


def _exported(count: int, words: int = 1350) -> bytes:
    message = {"role": "user", "content": "some words " * words, "created_at": "2026-01-01T00:00:00.000Z", "images": []}
    whole = {
        "title": "x",
        "model": "",
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
        "images": {},
        "messages": [message] * count,
    }
    return json.dumps({"format": "mlops_backend.conversations", "version": 1, "conversations": [whole]}).encode()
