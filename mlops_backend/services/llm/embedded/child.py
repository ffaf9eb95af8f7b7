"""The embedded engine's own process: llama.cpp's HTTP server on a Unix socket, and nothing of this service.

Run as a script (`python -I child.py`) so that it starts fast and that a crash of the engine stays its own.
The first line of standard input is its configuration, a JSON object:

* `site`: directory that holds the `xllamacpp` package
* `model`, `alias`: path of the GGUF file, and the name it is served as
* `socket`, `api_key`: where it listens, and the bearer token it asks for
* `remove`: files that the parent leaves behind when it is killed
* `slots`, `context`: generations at once, and tokens each of them has
* `batch`: tokens computed in one go; the end of a request is noticed between two of them
* `threads`, `http_threads`: for computing, and for connections

One JSON line on standard output tells that it listens. Then standard input is only watched: its end means that the
parent is gone, however it died, so the process removes its socket and exits. SIGINT is ignored, because Ctrl-C
reaches the whole process group and the parent still has to drain; SIGTERM exits with status 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_ERRORS_ONLY = 1


def main() -> None:
    """Read the configuration, serve, and wait for the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    config: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    socket = Path(config["socket"])
    parents = [Path(path) for path in config["remove"]]
    threading.Thread(target=_leave_with_parent, args=(socket, parents), daemon=True).start()
    threading.Thread(target=_leave_on_sigterm, args=(socket,), daemon=True).start()
    socket.unlink(missing_ok=True)
    server = _serve(config)
    print(json.dumps({"listening": server.listening_address}), flush=True)  # noqa: T201 - the parent reads it
    threading.Event().wait()


def _serve(config: dict[str, Any]) -> Any:
    sys.path.append(config["site"])
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = [config["socket"]]
    params.api_keys = [config["api_key"]]
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["context"]
    params.n_ubatch = params.n_batch = config["batch"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.n_threads_http = config["http_threads"]
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui = params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = False
    params.prefill_assistant = False
    params.cache_ram_mib = 0
    params.verbosity = _ERRORS_ONLY
    return xllamacpp.Server(params)


def _leave_with_parent(socket: Path, parents: list[Path]) -> None:
    while os.read(0, 4096):
        pass
    with suppress(OSError):
        for path in parents:
            path.unlink(missing_ok=True)
    _leave(socket)


def _leave_on_sigterm(socket: Path) -> None:
    signal.sigwait({signal.SIGTERM})
    _leave(socket)


def _leave(socket: Path) -> None:
    """Exit at once: the interpreter's own end would wait for the engine's threads, for seconds during a stream."""
    with suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()
    os._exit(0)


if __name__ == "__main__":
    main()
