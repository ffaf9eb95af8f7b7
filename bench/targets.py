"""What is compared: the upstream itself, the bare relay, the service with everything on, and nginx."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import nginx
from bench.processes import free_port, running
from bench.wire import HOST, Address

NAMES = ("direct", "bare", "service", "nginx")
KEY = "bench-key-0123456789abcdef"
GENERATE = "/api/generate"


def available(names: Sequence[str]) -> list[str]:
    """Return those of the names that can run on this machine."""
    return [name for name in names if name != "nginx" or nginx.find()]


@contextmanager
def started(names: Sequence[str], folder: Path) -> Iterator[dict[str, Address]]:
    """Run the upstream and the targets; the upstream is `direct`, wanted or not."""
    with ExitStack() as stack:
        port = free_port()
        command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        direct = stack.enter_context(running(Address("direct", port, GENERATE, GENERATE), command, folder, {}))
        found = {"direct": direct}
        for name in names:
            if name != "direct":
                found[name] = stack.enter_context(_proxy(name, folder, port))
        yield found


@contextmanager
def _proxy(name: str, folder: Path, upstream: int) -> Iterator[Address]:
    port = free_port()
    start = {"bare": _bare, "service": _service, "nginx": _nginx}[name]
    address, command, settings = start(port, upstream, folder)
    with running(address, command, folder, settings) as ready:
        yield ready


Start = tuple[Address, list[str], dict[str, str]]


def _bare(port: int, upstream: int, folder: Path) -> Start:
    address = Address("bare", port, f"{GENERATE}/stream", GENERATE)
    command = [sys.executable, "-m", "bench.bare_relay", "--port", str(port)]
    return address, [*command, "--upstream", f"http://{HOST}:{upstream}"], {}


def _service(port: int, upstream: int, folder: Path) -> Start:
    address = Address("service", port, "/api/llm/stream", "/api/llm/generate", KEY)
    settings = {
        "HOST": HOST,
        "PORT": str(port),
        "API_KEY": KEY,
        "OLLAMA_BASE_URL": f"http://{HOST}:{upstream}",
        "EMBEDDED_ENGINE": "off",
        "LOG_FORMAT": "json",
    }
    return address, [sys.executable, "-m", "mlops_backend"], settings


def _nginx(port: int, upstream: int, folder: Path) -> Start:
    program = nginx.find()
    assert program is not None
    address = Address("nginx", port, GENERATE, GENERATE)
    return address, nginx.command(program, folder, port, upstream), {}
