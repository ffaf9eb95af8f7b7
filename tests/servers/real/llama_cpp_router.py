"""llama.cpp's server in router mode, out of Debian's package: how it is started, and what is right for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.fakes.tiny_gguf import write_model
from tests.fakes.tiny_transformer import CONTEXT, WORDS
from tests.servers.real.case import Right
from tests.servers.real.right import Has, Refused, Said
from tests.servers.real.systems import inside

ALIAS: Final = "second/name"
OTHER: Final = "other"
# One of the folder's models has a second name, and a preset of its own.
_PRESET: Final = f"version = 1\n\n[tiny]\nmodel = /mnt/tiny.gguf\nalias = {ALIAS}\n"
_NO_EMBEDDINGS: Final = ["does not support embeddings"]


def write_models(folder: Path) -> None:
    """Two models, and the presets of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tiny", OTHER):
        write_model(folder / f"{name}.gguf", [word.strip() for word in WORDS])
    (folder / "presets.ini").write_text(_PRESET, "utf-8")


def command(system: str, folder: Path, port: int) -> Sequence[str]:
    """One model at a time, loaded when it is asked for."""
    models = ("--models-dir", "/mnt", "--models-preset", "/mnt/presets.ini", "--models-max", "1")
    small = ("--ctx-size", str(CONTEXT), "--parallel", "1", "--threads", "1", "--offline", "--no-webui")
    place = ("--host", "127.0.0.1", "--port", str(port))
    return inside(system, folder, ["/usr/bin/llama-server", *place, *models, *small])


def _both(value: Any) -> bool:
    return sorted(model["name"] for model in value) == [OTHER, "tiny"]


def _trained(value: Any) -> bool:
    return bool(value[f"{value['general.architecture']}.context_length"] > CONTEXT)


# Its list has the context that a model was trained for, whatever it is loaded with.
RIGHTS: Final[Mapping[str, Right]] = {
    "/api/tags": Has({"models": _both}),
    "/api/show": Has({"model_info": _trained, "template": lambda value: ".Tools" in value}),
    "/api/embed where there are none": Refused(501, _NO_EMBEDDINGS, "not_implemented"),
    "/api/embeddings where there are none": Refused(501, _NO_EMBEDDINGS, "not_implemented"),
    "/v1/embeddings where there are none": Refused(501, _NO_EMBEDDINGS, "501", "openai"),
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
