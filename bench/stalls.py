"""How long a large body keeps everybody else waiting: `python -m bench.stalls`.

Each body is sent once, while another client asks for `/health` over and over. What is told of each is the longest time
between two answers of `/health`, and the most time that the service's own thread ran between two: the latter is the
same on a busy machine.
"""

import argparse
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
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ROOT, free_port
from bench.stall_bodies import Case, cases, stored
from bench.wire import HOST

BOUND = 100.0
EVERY = 0.005
PATIENCE = 120.0
SETTLE = 0.3
KEY = "bench-key-0123456789abcdef"
POLL = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


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
    body = b'{"model":"small","messages":' + stored(1900) + b"}"
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
