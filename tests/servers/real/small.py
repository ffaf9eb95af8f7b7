"""The real servers that offer a part of OpenAI's API alone: LitServe chats, infinity embeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.fakes.tiny_transformer import WORDS
from tests.servers.real.case import Right
from tests.servers.real.kinds import Server
from tests.servers.real.right import Has, Said
from tests.servers.replies import BROKEN


def _named(value: Any) -> bool:
    return [model["id"] for model in value] == ["tiny/model"]


# It has no list, and its model looks at nothing: neither at a maximum, nor at the length of a prompt, nor at pictures.
_OF_LITSERVE: Final[Mapping[str, Right]] = {
    "/v1/models": Has({"object": "list", "data": _named}),
    **{
        f"{route} {name}{form}": Said()
        for route in ("/api/chat", "/api/generate")
        for form in ("", ", streamed")
        for name in ("image", "longer than the context", "options num_predict 3")
    },
}
# It cuts an input that is too long, whether it is asked to or not, and counts letters.
_OF_INFINITY: Final[Mapping[str, Right]] = {
    "/api/embed": Has({"embeddings": bool, "prompt_eval_count": 1}),
    "/api/embed too long": Has({"embeddings": lambda each: len(each) == 1}),
}


def _litserve(python: str, model: Path, port: int) -> Sequence[str]:
    del model
    return [python, str(Path(__file__).with_name("litserve_server.py")), str(port), BROKEN, *WORDS]


def _infinity(python: str, model: Path, port: int) -> Sequence[str]:
    served = ("--model-id", str(model), "--served-model-name", "tiny/model")
    place = ("--host", "127.0.0.1", "--port", str(port))
    plain = ("--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--no-compile")
    return [str(Path(python).with_name("infinity_emb")), "v2", *served, *place, *plain]


LITSERVE: Final = Server(
    "LitServe 0.2.19",
    "litserve-0.2.19",
    ("litserve==0.2.19",),
    _litserve,
    frozenset({"chat", "list", "blind", "no embeddings", "no messages", "no responses"}),
    write=lambda _: None,
    words="model=tiny/model",
    breaks=True,
    rights=_OF_LITSERVE,
    seconds=60.0,
)
INFINITY: Final = Server(
    "infinity-emb 0.0.78",
    "infinity-emb-0.0.78",
    ("infinity-emb[server,torch]==0.0.78", "torch==2.13.0", "transformers==4.57.6"),
    _infinity,
    frozenset({"embeddings", "list", "no chat"}),
    words="counts=estimated",
    root=True,
    rights=_OF_INFINITY,
    seconds=120.0,
)
