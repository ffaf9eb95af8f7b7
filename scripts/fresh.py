"""Bare Debian systems, in which a newcomer's commands are done and timed: `make test-fresh`.

Each has `python3 python3-venv make git curl` and nothing else. The working tree is cloned into it, `make run` has to
stream a real model's words, and a selection of the tests has to pass. On the system that Docker's base image is made
of, the Dockerfile's last stage is replayed too. Only the standard library; root and debootstrap are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = ("trixie", "testing")
PACKAGES = "python3,python3-venv,make,git,curl"
# The suite that python:…-slim images are made of.
IMAGE_SUITE = "trixie"
SMOKE = "-q -n 0 -p no:cacheprovider tests/unit/test_config.py tests/web/llm tests/unit/embedded"
# From `git clone` to the first word; what is hoped for is a minute.
BOUND = 180.0
# What one command may take, a whole run of the tests too.
LONGEST = 1800.0
# A kept system is made anew after this long, for a suite grows new versions.
KEPT_FOR = 7 * 86400
USER = 10001


class NotFresh(Exception):
    """A bare system does not do what it must; the message has the output."""


class NoSystem(Exception):
    """A bare system cannot be made here; the message has debootstrap's last words."""


class Bare:
    """One bare system in a directory; commands run in it with their own mounts, which end with them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def popen(
        self, command: str, *, user: int = 0, output: int | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a shell command in `/root`, or in `/` for another user."""
        mounts = "; ".join(
            f"mount {how} {self.root}/{where} 2>/dev/null || true"
            for how, where in (
                ("-t proc proc", "proc"),
                ("-t tmpfs tmpfs", "dev/shm"),
                ("--bind /dev/null", "dev/null"),
            )
        )
        folder = "/" if user else "/root"
        shell = f'cd {folder} && exec /bin/sh -euc "$COMMAND"'
        enter = f"exec chroot --userspec={user}:{user} {self.root} /bin/sh -c '{shell}'"
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"mkdir -p {self.root}/dev/shm; {mounts}; {enter}"],
            env=self.environment(COMMAND=command, **variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str, *, user: int = 0, **variables: str) -> str:
        """Run a shell command to its end; gives what it printed.

        Raises:
            NotFresh: it failed.
        """
        process = self.popen(command, user=user, output=subprocess.PIPE, **variables)
        try:
            printed, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise NotFresh(f"{command}\ndid not end within {LONGEST:.0f} s") from None
        finally:
            if process.poll() is None:
                end(process)
        if process.returncode:
            raise NotFresh(f"{command}\n{printed}\nfailed with status {process.returncode}")
        return printed

    def environment(self, **variables: str) -> dict[str, str]:
        """What a command there may know of this machine: how packages are reached."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.lower().endswith("_proxy")
            or (name.startswith("PIP_") and name not in {"PIP_FIND_LINKS", "PIP_CERT"})
            or name.lower() == "npm_config_registry"
        }
        if certificates():
            passed |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), "/certificates.pem")
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **passed, **variables}


def why_not() -> str:
    """Why bare systems cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "only root can make a system with debootstrap"
    missing = [name for name in ("debootstrap", "chroot", "unshare") if shutil.which(name) is None]
    return f"there is no {missing[0]} here" if missing else ""


def certificates() -> Path | None:
    """The certificates that this machine's own pip trusts, if it was told of some."""
    named = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named and Path(named).is_file() else None


def mirror() -> list[str]:
    """The address that this machine has Debian's packages from; none where it names none: debootstrap knows its own."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^Debian (https?://\S+debian/?)$", done.stdout, re.MULTILINE)
    return found[:1]


def kept_system(suite: str, packages: str = PACKAGES, called: str = "bare") -> Path:
    """The archive of a bare system, made unless there is one that is not too old."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend"
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"{called}-{suite}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < KEPT_FOR:
        return archive
    with tempfile.TemporaryDirectory(prefix="bare-") as scratch:
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, scratch, *mirror()]
        try:
            quietly(command)
        except NotFresh as error:
            raise NoSystem(str(error)) from None
        partial = archive.with_suffix(f".{os.getpid()}")
        quietly(["tar", "-C", scratch, "-cf", str(partial), "."])
        partial.rename(archive)
    return archive


def quietly(command: Sequence[str]) -> None:
    """Run a command; what it printed is told only when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotFresh(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")


@contextmanager
def bare_system(suite: str) -> Iterator[Bare]:
    """A bare system with a copy of the working tree in `/source`, as a repository of one commit."""
    archive = kept_system(suite)
    with tempfile.TemporaryDirectory(prefix=f"fresh-{suite}-") as scratch:
        quietly(["tar", "-C", scratch, "-xf", str(archive)])
        bare = Bare(Path(scratch))
        bare.root.chmod(0o755)
        if (trusted := certificates()) is not None:
            shutil.copy(trusted, bare.root / "certificates.pem")
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                target = bare.root / "source" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        identity = "-c user.name=fresh -c user.email=fresh@localhost"
        bare.run(f"git init -q /source && cd /source && git add -A && git {identity} commit -qm tree")
        yield bare


def free_port() -> int:
    """A port that nobody listens at, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_word(bare: Bare, command: str, key: str, *, user: int = 0, **variables: str) -> tuple[float, float]:
    """Start the service with `command`, stream, end it; seconds to the banner and from there to the first word."""
    port = str(free_port())
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = bare.popen(
            command, user=user, output=log.fileno(), HOST="127.0.0.1", PORT=port, EMBEDDED_ENGINE="on", **variables
        )
        try:
            banner_at = wait_for_banner(process, log.fileno(), started + BOUND)
            said = bare.run(curl(port, key), user=user)
            ended = time.monotonic()
            first = json.loads(said.partition("\n")[0])
            if not first.get("response"):
                raise NotFresh(f"no word came: {said}")
        finally:
            end(process)
    return banner_at - started, ended - banner_at


def end(process: subprocess.Popen[str]) -> None:
    """End a command and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def wait_for_banner(process: subprocess.Popen[str], log: int, deadline: float) -> float:
    """Wait until the service says where it listens; the time of it."""
    while True:
        printed = os.pread(log, 1 << 20, 0).decode(errors="replace")
        if re.search(r"^ +key +", printed, re.MULTILINE):
            return time.monotonic()
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotFresh(f"the service did not start:\n{printed}")
        time.sleep(0.05)


def curl(port: str, key: str) -> str:
    """The README's stream, of some words."""
    body = json.dumps({"prompt": "Why is the sky blue?", "options": {"num_predict": 6, "temperature": 0}})
    return (
        f"curl -sS -N --max-time 60 --fail-with-body --noproxy '*' http://127.0.0.1:{port}/api/llm/stream "
        f"-H 'X-API-Key: {key}' -H 'Content-Type: application/json' -d '{body}'"
    )


def newcomer(bare: Bare) -> Mapping[str, float]:
    """Clone, make run, stream; seconds of each step."""
    started = time.monotonic()
    bare.run("git clone -q /source /clone")
    cloned = time.monotonic()
    bare.run("cd /clone && make install && .venv/bin/python scripts/make_env.py dotenv")
    installed = time.monotonic()
    key = bare.run("sed -n 's/^API_KEY=//p' /clone/.env").strip()
    banner, word = first_word(bare, "cd /clone && exec make run", key)
    steps = {
        "git clone": cloned - started,
        "install": installed - cloned,
        "make run: banner": banner,
        "first word": word,
    }
    total = sum(steps.values())
    if total > BOUND:
        raise NotFresh(f"from clone to the first word it took {total:.0f} s, more than {BOUND:.0f}")
    return {**steps, "together": total}


def image(bare: Bare) -> float:
    """What Docker's last stage is made of, on this system and as its user; seconds to the first word."""
    pip = "/clone/.venv/bin/python -m pip -q --python /opt/venv/bin/python install --require-hashes"
    bare.run(
        "python3 -m venv --without-pip /opt/venv; cd /clone;"
        f"{pip} -r requirements.txt; {pip} --no-deps --only-binary=:all: -r requirements-embedded.txt;"
        "mkdir -p /app /data; cp -r mlops_backend wsgi.py hypercorn_conf.py /app; chmod -R a+rX /app /opt;"
        f"chown {USER} /data"
    )
    command = "cd /app && exec /opt/venv/bin/python -m mlops_backend"
    database = "sqlite:////data/mlops_backend.db"
    return sum(first_word(bare, command, "image-key", user=USER, API_KEY="image-key", DATABASE_URL=database))


def tests(bare: Bare, selection: str) -> tuple[float, str]:
    """A selection of the tests; seconds, and pytest's last line."""
    started = time.monotonic()
    # pip takes "no" for "do not": of what the tests' packages hold most is imported by none of these.
    printed = bare.run(f"cd /clone && PIP_NO_COMPILE=no make test ARGS='{selection}' BESIDE=")
    return time.monotonic() - started, printed.strip().rpartition("\n")[2]


def prepare(suite: str) -> str:
    """Make the system, or find it kept; a line about it."""
    return f"Debian {suite}: {kept_system(suite).name} is there"


def replay(suite: str, selection: str) -> str:
    """All that a bare system of this suite has to do; what it took, a line for each step."""
    with bare_system(suite) as bare:
        python = bare.run("python3 --version").strip()
        lines = [f"Debian {suite}, {python}"]
        lines += [f"  {step:<18} {seconds:6.1f} s" for step, seconds in newcomer(bare).items()]
        if suite == IMAGE_SUITE:
            lines.append(f"  {'image: first word':<18} {image(bare):6.1f} s")
        if selection:
            seconds, ended = tests(bare, selection)
            lines.append(f"  {'make test':<18} {seconds:6.1f} s: {ended}")
        return "\n".join(lines)


def main() -> int:
    """Make the systems and use them, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=SUITES, help="Debian's suites")
    parser.add_argument("--tests", default=SMOKE, help="what make test is given there; empty for none")
    parser.add_argument("--prepare", action="store_true", help="only make the systems, and keep them for the next time")
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"Bare systems are skipped: {reason}.")
        return 0
    with ThreadPoolExecutor() as pool:
        if arguments.prepare:
            under_way = [pool.submit(prepare, suite) for suite in arguments.suites]
        else:
            under_way = [pool.submit(replay, suite, arguments.tests) for suite in arguments.suites]
        try:
            for done in under_way:
                print(done.result(), flush=True)
        except NoSystem as error:
            print(f"Bare systems are skipped: debootstrap fails.\n{error}", flush=True)
        except NotFresh as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
