"""How long a large body keeps everybody else waiting: `python -m bench.stalls`.

Each body is sent once, while another client asks for `/health` over and over. What is told of each is the longest time
between two answers of `/health`, and the most time that the service's own thread ran between two: the latter is the
same on a busy machine.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import ROOT, free_port
from bench.wire import HOST

BOUND = 100.0
EVERY = 0.005
PATIENCE = 120.0
SETTLE = 0.3
KEY = "bench-key-0123456789abcdef"
SIZE = 30_000_000
POLL = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


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


@dataclass(frozen=True)
class Served:
    """A service that runs."""

    port: int
    pid: int


@dataclass(frozen=True)
class Stall:
    """What one body did."""

    title: str
    path: str
    megabytes: float
    status: int
    seconds: float
    gap: float
    own: float


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
    yield Case("2,000 messages", create, lambda: b'{"messages":' + _stored(2000) + b"}")
    yield Case("2,000 messages", "{conversation}/append", lambda: b'{"messages":' + _stored(1900) + b"}")
    yield Case("a question behind 30 MB", "{conversation}/messages", lambda: b'{"content":"x","stream":false}')
    yield Case("an export of 30 MB", create + "/import", lambda: _exported(1900))
    yield Case("messages", create + "/import", lambda: _exported(20_000, 20))


def _stored(count: int) -> bytes:
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


class Client:
    """Requests one after the other on one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and read its whole answer."""
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # refused before the end of its body: there is an answer
            self._socket.sendall(request)
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = bytes(data[:end])
        found, status = LENGTH.search(head), STATUS.match(head)
        assert status is not None
        left = int(found[1]) - (len(data) - end - 4) if found else 0
        body = data[end + 4 :]
        while left > 0:
            piece = self._more()
            body += piece[: 1 << 20] if len(body) < 1 << 20 else b""
            left -= len(piece)
        if b"connection: close" in head.lower():
            self.close()
        return int(status[1]), bytes(body)

    def _more(self) -> bytes:
        assert self._socket is not None
        if not (data := self._socket.recv(1 << 20)):
            raise ConnectionError("the service closed amid an answer")
        return data

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Poller(threading.Thread):
    """Asks for `/health`; notes when it was answered, and how long the service's thread had run by then."""

    def __init__(self, address: Served) -> None:
        super().__init__(daemon=True)
        self._client = Client(address.port)
        self._clock = Path(f"/proc/{address.pid}/task/{address.pid}/schedstat")
        self._over = threading.Event()
        self.moments: list[tuple[float, float]] = []

    def run(self) -> None:
        """Poll until told to stop."""
        while not self._over.is_set():
            self._client.ask(POLL)
            self.moments.append((time.monotonic(), int(self._clock.read_text().split()[0]) / 1e9))
            self._over.wait(EVERY)

    def stop(self) -> None:
        """Poll no more."""
        self._over.set()
        self.join()
        self._client.close()

    def worst(self) -> tuple[float, float]:
        """The longest time between two answers, and the most that the thread ran between two; milliseconds."""
        pairs = list(zip(self.moments, self.moments[1:], strict=False))
        return tuple(max((b[of] - a[of] for a, b in pairs), default=0.0) * 1e3 for of in (0, 1))  # type: ignore[return-value]


def probe(address: Served, case: Case) -> Stall:
    """Send one body and see what `/health` felt of it."""
    path = case.path.format(conversation=_conversation(address)) if "{" in case.path else case.path
    request = _request(path, case.body(), case.headers)
    poller, client = Poller(address), Client(address.port)
    poller.start()
    time.sleep(SETTLE)
    started = time.monotonic()
    status, _ = client.ask(request)
    taken = time.monotonic() - started
    time.sleep(SETTLE)
    client.close()
    poller.stop()
    gap, own = poller.worst()
    kind = " (translated)" if case.translated else ""
    return Stall(case.title, case.path + kind, len(request) / 1e6, status, taken, gap, own)


def _conversation(address: Served) -> str:
    """A new conversation, large where a question is to be asked behind it."""
    body = b'{"model":"small","messages":' + _stored(1900) + b"}"
    _, told = Client(address.port).ask(_request("/api/database/conversations", body, {}))
    found = re.search(rb'"id": ?"([^"]+)"', told)
    assert found is not None, told[:300]
    return f"/api/database/conversations/{found[1].decode()}"


def _request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    told = {"Host": HOST, "Content-Type": "application/json", "X-API-Key": KEY, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**told, **headers}.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def _running(
    port: int, path: bytes, command: Sequence[str], folder: Path, settings: Mapping[str, str]
) -> Iterator[int]:
    """Run a server until the block ends, in a folder of its own, where its output goes too; its process id."""
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        environment = {"PATH": os.environ["PATH"], **settings}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        _wait_for(port, path, process, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, path: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            Client(port).ask(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"{port} does not answer; it said:\n{log.read_text(errors='replace')[-2000:]}"
                ) from None
            time.sleep(0.05)
        else:
            return


@contextmanager
def served(folder: Path, tree: Path = ROOT) -> Iterator[dict[bool, Served]]:
    """Run a service before an Ollama, and one before a server of the OpenAI API; of another tree where one is given."""
    with ExitStack() as stack:
        backend = free_port()
        command = [sys.executable, "-m", "bench.stall_server", "--port", str(backend)]
        stack.enter_context(_running(backend, b"/api/version", command, folder, {"PYTHONPATH": str(ROOT)}))
        found = {}
        for translated, name in ((False, "OLLAMA_BASE_URL"), (True, "OPENAI_BACKENDS")):
            port, own = free_port(), folder / name
            own.mkdir()
            settings = {
                **{
                    "HOST": HOST,
                    "PORT": str(port),
                    "API_KEY": "administrator-of-the-bench",
                    "API_KEYS": f"bench:{KEY}",
                },
                **{"RATE_LIMIT_TOKENS": "1000000000/second", "EMBEDDED_ENGINE": "off", "LOG_FORMAT": "json"},
                **{"DEFAULT_CONTEXT": "100000000", "PYTHONPATH": str(tree), "CONVERSATION_BYTES": "67108864"},
                name: f"http://{HOST}:{backend}",
            }
            service = [sys.executable, "-m", "mlops_backend"]
            pid = stack.enter_context(_running(port, b"/health", service, own, settings))
            found[translated] = Served(port, pid)
        yield found


def measured(chosen: Sequence[Case], tree: Path = ROOT, say: Callable[[str], None] = lambda text: None) -> list[Stall]:
    """What each body did, in their order."""
    found = []
    with tempfile.TemporaryDirectory(prefix="stalls-") as folder, served(Path(folder), tree) as addresses:
        for case in chosen:
            found.append(probe(addresses[case.translated], case))
            say(line_of(found[-1]))
    return found


def line_of(stall: Stall) -> str:
    """One row of the table."""
    return (
        f"| {stall.path} | {stall.title} | {stall.megabytes:.1f} | {stall.status} | {stall.seconds:.2f} "
        f"| {stall.gap:.0f} | {stall.own:.0f} |"
    )


HEAD = "| route | body | MB | status | seconds | worst gap of `/health`, ms | of it the service's own thread, ms |"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalls", description=__doc__)
    parser.add_argument("--only", default="", help="a part of a route or of a body's name")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another tree of the product, to compare")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a gap is longer than the bound")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in f"{case.path} {case.title} {case.translated}"]
    print(f"{HEAD}\n|---|---|--:|--:|--:|--:|--:|", flush=True)
    found = measured(chosen, options.tree, lambda text: print(text, flush=True))
    return int(options.strict and any(stall.gap > BOUND for stall in found))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    raise SystemExit(main())
