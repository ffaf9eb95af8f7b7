"""The real servers that pass requests on to others: each stands before another of the harness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.e2e.processes import free_port
from tests.fakes.tiny_gguf import write_model
from tests.fakes.tiny_transformer import WORDS
from tests.servers.real.case import Right
from tests.servers.real.kinds import LLAMA_CPP, VLLM, WORKER, Server, xllamacpp
from tests.servers.real.right import Refused

# Its words come in another order each time.
_TOO_HOT: Final = Refused(400, ["temperature", "2.5"], dialect="openai")
_OF_SMG: Final[Mapping[str, Right]] = {
    **LLAMA_CPP.rights,
    **{
        f"{route} temperature 2.5{form}": _TOO_HOT
        for route in ("/v1/chat/completions", "/v1/completions")
        for form in ("", ", streamed")
    },
}


def _without_end(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "tiny.gguf", [word.strip() for word in WORDS], endless=True)


def _for_ever(python: str, model: Path, port: int) -> Sequence[str]:
    return [*xllamacpp(python, model, port), "shift"]


def _router(program: str, *options: str) -> Callable[[str, Path, int], Sequence[str]]:
    def command(python: str, model: Path, port: int) -> Sequence[str]:
        del model
        place = ("--host", "127.0.0.1", "--port", str(port))
        counts = ("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()))
        return [str(Path(python).with_name(program)), *options, *place, *counts, "--worker-urls", WORKER]

    return command


VLLM_ROUTER: Final = Server(
    "vllm-router 0.1.17",
    "vllm-router-0.1.17",
    ("vllm-router==0.1.17",),
    _router("vllm-router"),
    VLLM.has,
    rights=VLLM.rights,
    ready="/readiness",
    seconds=60.0,
    worker=VLLM,
)
SMG: Final = Server(
    "SMG 1.13.0",
    "smg-1.13.0",
    ("smg==1.13.0",),
    _router("smg", "launch"),
    LLAMA_CPP.has - {"context"} | {"names", "blind"},
    rights=_OF_SMG,
    ready="/readiness",
    seconds=60.0,
    worker=LLAMA_CPP,
)
# It says its words again and again, so that an answer is always under way.
ENDLESS: Final = replace(LLAMA_CPP, write=_without_end, command=_for_ever)
