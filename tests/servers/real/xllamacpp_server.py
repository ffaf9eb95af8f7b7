"""llama.cpp's own server out of the package `xllamacpp`, on loopback: a model's file, a port, a context, `shift`."""

from __future__ import annotations

import sys
import threading

import xllamacpp


def main(model: str, port: str, context: str, shift: str = "") -> None:
    """Serve until the process is ended; with `shift` an answer goes on where its context ends."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_parallel = 1
    params.n_ctx = int(context)
    params.ctx_shift = bool(shift)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 - it goes to the log
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
