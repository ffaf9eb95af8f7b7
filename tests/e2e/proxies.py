"""Real proxies with the documentation's own configuration, and curl, which speaks HTTP/1.1 and HTTP/2 to them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.newcomer import need
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import clean_environment, free_port
from tests.e2e.server_process import running

VERSIONS: Final = ("http1.1", "http2")
_ADDRESS: Final = "127.0.0.1:8000"
_PEM: Final = "/etc/ssl/llm.pem"
_KEY: Final = "/etc/ssl/llm.key"
_SYSTEM: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin")
_MODULES: Final = Path("/usr/lib/apache2/modules")
_APACHE: Final = ("mpm_event", "authz_core", "ssl", "http2", "proxy", "proxy_http", "socache_shmcb")


@dataclass(frozen=True, slots=True)
class Made:
    """A configuration that was written: how it is run."""

    command: Sequence[str]
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A kind of proxy: its program, and how a block of the page becomes all of its configuration."""

    name: str
    program: str
    version: tuple[str, ...]
    configure: Callable[[str, str, Path, int], Made]

    def find(self) -> str:
        """Where the program is; skips where it is not."""
        found = shutil.which(self.program) or shutil.which(self.program, path=os.pathsep.join(_SYSTEM))
        if found is None:
            pytest.skip(f"{self.program} is not installed")
        return found

    def release(self) -> str:
        """The version that is installed, as the program tells it."""
        told = subprocess.run([self.find(), *self.version], capture_output=True, text=True, check=True, timeout=10)
        words = f"{told.stdout} {told.stderr}".replace("/", " ").split()
        return next(word for word in words if word[0].isdecimal() and "." in word).partition("-")[0]


def _nginx(program: str, block: str, folder: Path, port: int) -> Made:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    # The workers of root's nginx are somebody else's, who sees nothing of a folder of root's.
    user = "user root;" if os.geteuid() == 0 else ""
    block = block.replace("listen 443", f"listen 127.0.0.1:{port}")
    http = f"error_log stderr; access_log off; {paths}\n{block}"
    (folder / "nginx.conf").write_text(f"daemon off; pid {folder}/pid; {user} events {{}} http {{ {http} }}")
    return Made((program, "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"), {})


def _haproxy(program: str, block: str, folder: Path, port: int) -> Made:
    (folder / "haproxy.cfg").write_text(block.replace("bind :443", f"bind 127.0.0.1:{port}"))
    return Made((program, "-db", "-f", "haproxy.cfg"), {})


def _caddy(program: str, block: str, folder: Path, port: int) -> Made:
    options = "{\n admin off\n servers {\n protocols h1 h2\n }\n}\n"
    site = f"https://localhost:{port} {{\n    bind 127.0.0.1\n    tls {folder}/llm.pem {folder}/llm.key\n"
    (folder / "Caddyfile").write_text(options + block.replace("llm.example {\n", site))
    home = str(folder)
    return Made((program, "run", "--config", "Caddyfile"), {"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})


def _apache(program: str, block: str, folder: Path, port: int) -> Made:
    lines = [f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _APACHE]
    lines += [
        f"ServerRoot {folder}",
        f"DefaultRuntimeDir {folder}",
        f"PidFile {folder}/pid",
        f"ErrorLog {folder}/errors",
    ]
    lines += ["ServerName localhost", f"Listen 127.0.0.1:{port}"]
    lines += ["User nobody", "Group nogroup"] if os.geteuid() == 0 else []
    text = "\n".join(lines) + "\n" + block.replace("*:443", f"127.0.0.1:{port}")
    (folder / "apache.conf").write_text(text)
    return Made((program, "-D", "FOREGROUND", "-f", str(folder / "apache.conf")), {})


PROXIES: Final = {
    "nginx": Proxy("nginx", "nginx", ("-v",), _nginx),
    "haproxy": Proxy("haproxy", "haproxy", ("-v",), _haproxy),
    "caddy": Proxy("caddy", "caddy", ("version",), _caddy),
    "apache": Proxy("apache", "apache2", ("-v",), _apache),
}


class Curl:
    """One request of curl's, whose answer is read line by line as it comes."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process, self._output = process, process.stdout

    async def line(self, seconds: float = 10) -> str:
        """The next line; empty at the end."""
        async with asyncio.timeout(seconds):
            return (await self._output.readline()).decode()

    async def rest(self, seconds: float = 30) -> tuple[str, int]:
        """What else comes, and curl's own word on how it ended: 0 for a whole answer."""
        async with asyncio.timeout(seconds):
            text, _ = await self._process.communicate()
        assert self._process.returncode is not None
        return text.decode(), self._process.returncode

    async def leave(self) -> float:
        """Go, as a client that is closed; returns when, by `time.monotonic()`."""
        now = time.monotonic()
        self._process.kill()
        await self._process.wait()
        return now


@dataclass(frozen=True, slots=True)
class Front:
    """A running proxy: its address, and a certificate that it shows, for clients to believe."""

    url: str
    certificate: Path

    @asynccontextmanager
    async def curl(self, version: str, path: str, *arguments: str) -> AsyncIterator[Curl]:
        """Ask, by the version of HTTP that is named; whatever runs at the end is killed."""
        trust = ("--cacert", str(self.certificate), "--noproxy", "*", f"--{version}")
        process = await asyncio.create_subprocess_exec(
            "curl", "-sSN", *trust, *arguments, self.url + path, env=clean_environment(), stdout=PIPE, stderr=PIPE
        )
        try:
            yield Curl(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def asked(self, version: str, path: str, *arguments: str) -> tuple[str, str, int]:
        """The body of an answer, its version and status, and how curl ended."""
        async with self.curl(version, path, *arguments, "-w", "\n%{http_version} %{response_code}") as curl:
            text, code = await curl.rest()
        body, _, told = text.rpartition("\n")
        return body, told, code


@asynccontextmanager
async def fronted(
    folder: Path, proxy: Proxy, backend: str, change: Callable[[str], str] = lambda block: block, name: str = ""
) -> AsyncIterator[Front]:
    """A proxy as the page says, but for addresses and the certificate, before a backend's `host:port`."""
    need_curl()
    program, port = proxy.find(), free_port()
    make_certificate(folder)
    block = change(read_blocks()[name or f"proxy-{proxy.name}"].text).replace(_ADDRESS, backend)
    scheme = "https" if _PEM in block or proxy.name == "caddy" else "http"
    block = block.replace(_PEM, str(folder / "llm.pem")).replace(_KEY, str(folder / "llm.key"))
    made = proxy.configure(program, block, folder, port)
    front = Front(f"{scheme}://localhost:{port}", folder / "llm.pem")
    async with running(folder, made.command, made.variables, path=()) as process:
        deadline = time.monotonic() + 60
        while not await _listens(port):
            assert time.monotonic() < deadline, process.report()
            await asyncio.sleep(0.02)
        yield front


def in_clear(block: str) -> str:
    """HAProxy's block without its certificate: HTTP/1.1 alone."""
    return block.replace(f" ssl crt {_PEM} alpn h2,http/1.1", "")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def make_certificate(folder: Path) -> None:
    """A certificate for this machine, for a day, with its key, in one file and the key in another."""
    need("openssl")
    key, whole = folder / "llm.key", folder / "llm.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", whole], check=True, capture_output=True, timeout=30)
    whole.write_text(whole.read_text() + key.read_text())


@cache
def _curls_features() -> str:
    return subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True, timeout=10).stdout


def need_curl() -> None:
    """Skip where curl is missing, or knows no HTTP/2."""
    need("curl")
    if "HTTP2" not in _curls_features():
        pytest.skip("curl was built without HTTP/2")
