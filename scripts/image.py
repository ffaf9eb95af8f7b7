"""The image of the Dockerfile, built and run without Docker: `make test-image`.

Buildah builds both variants on a base of the official one's name, made by debootstrap with the same Python, and runs
them in a chroot: as the image's own user, as one that a platform chose, and as one that may not write to the volume.
Only the standard library; root, buildah and debootstrap are needed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from scripts.fresh import ROOT, NoSystem, NotFresh, certificates, free_port, kept_system

# Debian's release with the Python of the official base.
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip"
VARIANTS = {"plain": "false", "with the engine": "true"}
KEY = "key-of-the-image"
PATIENCE = 90.0
WORDS = 30
PAUSE = 0.1
SIGNAL_AFTER = 3
REFUSED = 1


@dataclass(frozen=True)
class Caller:
    """Whom the image runs as, and whether `/data` is to be written."""

    called: str
    user: str
    writes: bool


CALLERS = (
    Caller("the image's own", "", writes=True),
    Caller("1000 in group 0", "1000:0", writes=True),
    Caller("1000 in group 1000", "1000:1000", writes=False),
)


class Buildah:
    """The program with a store of its own, which goes with its folder."""

    def __init__(self, folder: Path) -> None:
        self._command = (
            "buildah",
            "--root",
            f"{folder}/store",
            "--runroot",
            f"{folder}/run",
            "--storage-driver",
            "vfs",
        )

    def __call__(self, *arguments: str) -> str:
        """Run it to its end; gives what it printed.

        Raises:
            NotFresh: it failed.
        """
        done = subprocess.run([*self._command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotFresh(f"buildah {' '.join(arguments)}\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout.strip()

    def start(self, container: str, caller: Caller, output: int, **variables: str) -> subprocess.Popen[bytes]:
        """Start the image's own command."""
        as_user = ["--user", caller.user] if caller.user else []
        given = [f"--env={name}={value}" for name, value in variables.items()]
        arguments = ["run", "--isolation", "chroot", *as_user, *given, container, "--", *self.command_of(container)]
        return subprocess.Popen(
            [*self._command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )

    def command_of(self, container: str) -> list[str]:
        """What the image says is to be run."""
        command: list[str] = json.loads(self("inspect", container))["OCIv1"]["config"]["Cmd"]
        return command

    def megabytes(self, image: str) -> float:
        """The size of an image with its base."""
        number, unit = json.loads(self("images", "--json", image))[0]["size"].split()
        return float(number) * {"KB": 0.001, "MB": 1, "GB": 1000}[unit]

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        """A container of an image, to the end of the block."""
        name = self("from", "--pull-never", image)
        try:
            yield name
        finally:
            self("rm", name)


class SlowOllama(BaseHTTPRequestHandler):
    """An Ollama with one model, whose answer takes some seconds."""

    protocol_version = "HTTP/1.1"
    whole: ClassVar[dict[str, dict[str, Any]]] = {
        "/api/version": {"version": "0.14.0"},
        "/api/tags": {"models": [{"name": "slow:latest", "model": "slow:latest"}]},
        "/api/ps": {"models": []},
    }

    def do_GET(self) -> None:
        """Answer what is asked of an Ollama before a generation."""
        body = json.dumps(self.whole.get(self.path, {})).encode()
        self.send_response(200 if self.path in self.whole else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Say a word every tenth of a second."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(WORDS):
            self._say({"model": "slow:latest", "response": f"word{number} ", "done": False})
            time.sleep(PAUSE)
        counts = {"prompt_eval_count": 1, "eval_count": WORDS}
        self._say({"model": "slow:latest", "response": "", "done": True, "done_reason": "stop", **counts})
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _say(self, value: dict[str, Any]) -> None:
        line = json.dumps(value).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()


@contextmanager
def slow_ollama() -> Iterator[str]:
    """The address of a `SlowOllama`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowOllama)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Running:
    """The image's command in a container, and what it printed."""

    def __init__(self, buildah: Buildah, container: str, caller: Caller, log: Path, **variables: str) -> None:
        self.url = f"http://127.0.0.1:{variables['PORT']}"
        self._log = log
        self._command = buildah.command_of(container)
        with log.open("wb") as output:
            self._process = buildah.start(container, caller, output.fileno(), **variables)

    @property
    def printed(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def open(self, path: str, body: object = None) -> HTTPResponse:
        """Ask the service, with the administrator's key."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer: HTTPResponse = direct.open(urllib.request.Request(self.url + path, data, headers), timeout=PATIENCE)
        return answer

    def status(self, path: str) -> int:
        """The status of an answer, whatever it is."""
        try:
            with self.open(path) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def terminate(self) -> None:
        """Send SIGTERM to the service itself, as a container's runtime does to the first process."""
        own = [pid for pid in descendants(self._process.pid) if self._is_service(command_of(pid))]
        if not own:
            raise NotFresh(f"the service is not among the processes:\n{self.printed}")
        os.kill(own[0], signal.SIGTERM)

    def _is_service(self, command: Sequence[str]) -> bool:
        """Whether it is the image's command itself, whose program may be told with its path; Buildah's has it too."""
        return Path(command[0]).name == self._command[0] and list(command[1:]) == self._command[1:]

    def wait(self) -> int:
        """Wait for the end; its status."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise NotFresh(f"it did not end within {PATIENCE:.0f} s:\n{self.printed}") from None

    def kill(self) -> None:
        """End what is left of it."""
        if not self.ended:
            for pid in [*descendants(self._process.pid), self._process.pid]:
                os.kill(pid, signal.SIGKILL)
            self._process.wait()


def command_of(pid: int) -> list[str]:
    """The words of a process's command."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return [""]


def descendants(parent: int) -> list[int]:
    """Every process below `parent`, the nearest first."""
    below = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout
    children = [int(pid) for pid in below.split()]
    return children + [pid for child in children for pid in descendants(child)]


def make_base(buildah: Buildah, folder: Path) -> str:
    """The base that the Dockerfile names, with Debian's Python of the same version; its name."""
    [name] = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    archive = kept_system(SUITE, PACKAGES, "image")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(archive), "/")
    variables = ["--env=PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"]
    if (trusted := certificates()) is not None:
        shutil.copy(trusted, folder / "certificates.pem")
        buildah("copy", "--quiet", container, str(folder / "certificates.pem"), "/certificates.pem")
        variables += ["--env=PIP_CERT=/certificates.pem", "--env=NODE_EXTRA_CA_CERTS=/certificates.pem"]
    buildah("config", *variables, container)
    buildah("run", "--isolation", "chroot", container, "--", "ln", "-s", "/usr/bin/python3", "/usr/local/bin/python")
    buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")
    return f"docker.io/library/{name}"


def build(buildah: Buildah, embedded: str) -> tuple[str, float]:
    """One variant of the image: its name, and the seconds that it took."""
    started = time.monotonic()
    name = f"localhost/mlops_backend:embedded-{embedded}"
    options = ["--isolation", "chroot", "--format", "docker", "--pull-never", "--quiet"]
    buildah("build", *options, "--build-arg", f"EMBEDDED={embedded}", "--tag", name, str(ROOT))
    return name, time.monotonic() - started


def wait_until_serving(running: Running) -> None:
    """Wait for the banner.

    Raises:
        NotFresh: it does not come.
    """
    deadline = time.monotonic() + PATIENCE
    while not re.search(r"^ +key +", running.printed, re.MULTILINE):
        if running.ended or time.monotonic() > deadline:
            raise NotFresh(f"the service did not start:\n{running.printed}")
        time.sleep(0.05)


def serves(running: Running) -> str:
    """A key is made, words come one by one, and SIGTERM in their midst lets them come to their end.

    Raises:
        NotFresh: one of these is not so.
    """
    started = time.monotonic()
    wait_until_serving(running)
    banner = time.monotonic() - started
    with running.open("/api/admin/keys", {"name": "made in the image"}) as made:
        if made.status != 201:
            raise NotFresh(f"no key was made: {made.status}")
    asked = time.monotonic()
    body = {"prompt": "Tell a long story.", "options": {"num_predict": 60, "temperature": 0}}
    with running.open("/api/llm/stream", body) as stream:
        lines = [json.loads(stream.readline())]
        word = time.monotonic() - asked
        lines += [json.loads(stream.readline()) for _ in range(SIGNAL_AFTER)]
        running.terminate()
        while running.status("/health/ready") != 503:
            time.sleep(0.01)
        lines += [json.loads(line) for line in stream if line.strip()]
    status = running.wait()
    if not lines[-1].get("done") or "error" in lines[-1] or status:
        raise NotFresh(f"the stream was not let to its end: {lines[-1]}, status {status}\n{running.printed}")
    after = len(lines) - SIGNAL_AFTER - 1
    return f"starts in {banner:.1f} s, key made, first word after {word:.2f} s, {after} lines after SIGTERM, status 0"


def refuses(running: Running, caller: Caller) -> str:
    """The service ends at once, with a line that says what it cannot write, who it is, and what to do.

    Raises:
        NotFresh: it does not.
    """
    status = running.wait()
    told = [line for line in running.printed.splitlines() if "DATABASE_URL" in line]
    user, _, group = caller.user.partition(":")
    expected = ("/data/mlops_backend.db", f"user {user} and group {group}", "let that user write")
    if status != REFUSED or len(told) != 1 or "Traceback" in running.printed or not all(w in told[0] for w in expected):
        raise NotFresh(f"it does not say why it does not start; status {status}:\n{running.printed}")
    return told[0]


def try_as(buildah: Buildah, image: str, caller: Caller, folder: Path, **variables: str) -> str:
    """Run an image as somebody; what was seen."""
    settings = {"HOST": "127.0.0.1", "PORT": str(free_port()), "API_KEY": KEY, **variables}
    with buildah.container(image) as container:
        running = Running(buildah, container, caller, folder / "log", **settings)
        try:
            return serves(running) if caller.writes else refuses(running, caller)
        finally:
            running.kill()


def all_of_it(folder: Path) -> Iterator[str]:
    """Build both variants and run them as everybody; lines of the table."""
    buildah = Buildah(folder)
    base = buildah.megabytes(make_base(buildah, folder))
    for variant, embedded in VARIANTS.items():
        image, seconds = build(buildah, embedded)
        size = buildah.megabytes(image)
        yield f"{variant}: built in {seconds:.0f} s; {size:.0f} MB, of which {size - base:.0f} above the base"
        for caller in CALLERS:
            with slow_ollama() as ollama:
                engine = {"EMBEDDED_ENGINE": "on"}
                backend = {"EMBEDDED_ENGINE": "off", "OLLAMA_BASE_URL": ollama}
                told = try_as(buildah, image, caller, folder, **(engine if embedded == "true" else backend))
            yield f"  {caller.called:<18}  {told}"


def why_not() -> str:
    """Why images cannot be built here; empty when they can."""
    if os.geteuid() != 0:
        return "only root can build in a chroot"
    missing = [name for name in ("buildah", "debootstrap", "pgrep") if shutil.which(name) is None]
    return f"there is no {missing[0]} here" if missing else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and run, and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    if reason := why_not():
        print(f"Images are skipped: {reason}.")
        return 0
    with tempfile.TemporaryDirectory(prefix="image-") as scratch:
        try:
            for line in all_of_it(Path(scratch)):
                print(line, flush=True)
        except NoSystem as error:
            print(f"Images are skipped: debootstrap fails.\n{error}", flush=True)
        except NotFresh as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
