"""What is compared: the upstream itself, the bare relay, the service with everything on, and nginx."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import nginx
from bench.families import Family
from bench.processes import free_port, running
from bench.wire import HOST, Address

NAMES = ("direct", "bare", "service", "nginx")
KEY = "bench-key-0123456789abcdef"
# Every limit there is, none of which is ever reached.
LIMITS = {
    "RATE_LIMIT_REQUESTS": "1000000/second",
    "RATE_LIMIT_TOKENS": "1000000000/second",
    "TOKENS_PER_DAY": "1000000000000",
    "TOKENS_PER_MONTH": "1000000000000",
    "CONCURRENT_GENERATIONS": "1000000",
    "PRICES": "*=0.1/0.4",
}


def available(names: Sequence[str]) -> list[str]:
    """Return those of the names that can run on this machine."""
    return [name for name in names if name != "nginx" or nginx.find()]


@contextmanager
def started(family: Family, names: Sequence[str], folder: Path) -> Iterator[dict[str, Address]]:
    """Run the upstream and the targets, to be asked as a family is; the upstream is `direct`, wanted or not."""
    with ExitStack() as stack:
        port = free_port()
        command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        address = Address("direct", port, family.path, family.path, upstream=port, family_name=family.name)
        direct = stack.enter_context(running(address, command, folder, {}))
        found = {"direct": direct}
        for name in names:
            if name != "direct":
                found[name] = stack.enter_context(_proxy(family, name, folder, port))
        yield found


@contextmanager
def twins(families: Sequence[Family], folder: Path) -> Iterator[list[Address]]:
    """Run the upstream and a service for each family; each has its own folder, and so its own database."""
    with ExitStack() as stack:
        direct = stack.enter_context(started(families[0], (), folder))["direct"]
        found = [direct]
        for number, family in enumerate(families):
            own = folder / str(number)
            own.mkdir()
            found.append(stack.enter_context(_proxy(family, "service", own, direct.port)))
        yield found


@contextmanager
def _proxy(family: Family, name: str, folder: Path, upstream: int) -> Iterator[Address]:
    port = free_port()
    start = {"bare": _bare, "service": _service, "nginx": _nginx}[name]
    address, command, settings = start(family, port, upstream, folder)
    with running(address, command, folder, settings) as ready:
        yield replace(ready, upstream=upstream)


Start = tuple[Address, list[str], dict[str, str]]


def _bare(family: Family, port: int, upstream: int, folder: Path) -> Start:
    address = Address("bare", port, family.bare_stream, family.path, family_name=family.name)
    command = [sys.executable, "-m", "bench.bare_relay", "--port", str(port)]
    return address, [*command, "--upstream", f"http://{HOST}:{upstream}"], {}


def _service(family: Family, port: int, upstream: int, folder: Path) -> Start:
    address = service_address("service", family, port)
    return address, [sys.executable, "-m", "mlops_backend"], service_settings(family, port, upstream)


def service_address(name: str, family: Family, port: int) -> Address:
    """Return where a service takes a family's requests."""
    return Address(name, port, family.service_stream, family.service_whole, KEY, family_name=family.name)


def service_settings(family: Family, port: int, upstream: int) -> dict[str, str]:
    """Return a service's settings: everything is on."""
    return {
        "HOST": HOST,
        "PORT": str(port),
        "API_KEY": "administrator-of-the-bench",
        "API_KEYS": f"bench:{KEY}",
        **LIMITS,
        "OPENAI_BACKENDS" if family.openai_server else "OLLAMA_BASE_URL": f"http://{HOST}:{upstream}{family.below}",
        "EMBEDDED_ENGINE": "off",
        "LOG_FORMAT": "json",
    }


def _nginx(family: Family, port: int, upstream: int, folder: Path) -> Start:
    program = nginx.find()
    assert program is not None
    address = Address("nginx", port, family.path, family.path, family_name=family.name)
    return address, nginx.command(program, folder, port, upstream), {}
