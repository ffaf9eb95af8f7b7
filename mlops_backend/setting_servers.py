"""How a server of the OpenAI API is written in `OPENAI_BACKENDS`: its address, then words about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mlops_backend import setting_addresses
from mlops_backend import setting_values as values_of

_FORM: Final = (
    "each server must be written as an address, and behind it, after a space each, model=NAME or counts=estimated"
)
_ESTIMATED: Final = ("counts", "=", "estimated")


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """One server.

    Attributes:
        url: its address; a password in it is a key that travels in a header.
        models: names of models that it has and may not list itself.
        counts: whether the tokens that it tells are to be believed.
    """

    url: str
    models: tuple[str, ...] = ()
    counts: bool = True


def openai_server(value: Any) -> Any:
    """`http://host:8000 model=mine model=other counts=estimated`.

    Raises:
        ValueError: written in another way, or a model stands there twice.
    """
    if not isinstance(value, str):
        return value
    url, *words = value.split()
    said = [word.partition("=") for word in words]
    pairs = [pair for pair in said if pair != _ESTIMATED]
    if not all(name == "model" and text for name, _, text in pairs):
        raise ValueError(_FORM)
    models = values_of.once_each((values_of.model_name(text) for _, _, text in pairs), "model of a server")
    return OpenAIServer(setting_addresses.openai_url(url), models, counts=_ESTIMATED not in said)


def openai_servers(value: Any) -> Any:
    """All of them, separated by commas; no address twice."""
    servers = tuple(map(openai_server, values_of.split(value)))
    values_of.once_each((server.url for server in servers), "backend")
    return servers
