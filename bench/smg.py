"""SMG, a router written in Rust, where `make test-servers` has installed it from the package index."""

from pathlib import Path

from bench.builds import environments
from bench.processes import free_port
from bench.wire import HOST

VERSION = "1.13.0"


def find() -> str | None:
    """Return where the program is."""
    program = environments().parent / "servers" / f"smg-{VERSION}" / "bin" / "smg"
    return str(program) if program.exists() else None


def command(program: str, folder: Path, port: int, upstream: int, key: str) -> list[str]:
    """Return how to run it before one server: with a key, and its log as it is by default."""
    place = ["--host", HOST, "--port", str(port)]
    counts = ["--prometheus-host", HOST, "--prometheus-port", str(free_port())]
    worker = ["--worker-urls", f"http://{HOST}:{upstream}", "--worker-startup-check-interval", "1"]
    return [program, "launch", *place, *counts, *worker, "--api-key", key, "--log-dir", str(folder / "smg")]
