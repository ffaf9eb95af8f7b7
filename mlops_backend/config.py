"""The settings: the only reader of the environment and of `.env`.

Names, defaults and meanings are public; the README's configuration table lists them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PLACEHOLDER_KEY = "your-secret-api-key-change-this"
RESERVED_NAMES = ("admin", "anonymous")
DEFAULT_OLLAMA_URL = "http://localhost:11434"

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_FAMILIES: Final = (["api"], ["v1"])
_SEGMENT: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~-]+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")

Network = IPv4Network | IPv6Network
Route = tuple[str, str]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ConfigError(Exception):
    """A setting that cannot be used; the message is one line and names the variable."""


class Settings(BaseSettings):
    """Everything an operator can set; frozen, so that it can be handed to every part."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    ollama_base_url: Annotated[tuple[str, ...], NoDecode] = (DEFAULT_OLLAMA_URL,)
    ollama_host_header: Annotated[tuple[str, ...], NoDecode] = ()
    openai_backends: Annotated[tuple[str, ...], NoDecode] = ()
    api_key: SecretStr = SecretStr(PLACEHOLDER_KEY)
    api_keys: Annotated[Mapping[str, SecretStr], NoDecode] = {}
    auth_enabled: bool = True
    key_in_url: bool = False
    allow_account_routes: bool = False
    allow_cloud_models: bool = False
    passthrough_routes: Annotated[tuple[Route, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    host: str = "0.0.0.0"
    port: int = Field(default=8000, ge=0, le=65535)
    debug: bool = False
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000", "http://localhost")
    default_model: str = ""
    embedded_engine: Literal["auto", "on", "off"] = "auto"
    docs_enabled: bool = True
    connect_timeout: Seconds = 5.0
    first_byte_timeout: Seconds = 600.0
    idle_timeout: Seconds = 120.0
    upstream_max_connections: int = Field(default=2000, ge=1, le=100_000)
    max_body_bytes: int = Field(default=33_554_432, ge=1)
    drain_timeout: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"

    @property
    def ollama_is_named(self) -> bool:
        """Whether the operator chose the backend, rather than leaving the default."""
        return "ollama_base_url" in self.model_fields_set

    @property
    def host_headers(self) -> Mapping[str, str]:
        """Address of a backend -> the `Host` it wants to be called by, for those that want another than their own."""
        names = self.ollama_host_header
        named = names * len(self.ollama_base_url) if len(names) == 1 else names
        return dict(zip(self.ollama_base_url, named, strict=False))

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`NAME=` in a file means that nobody chose; only for the administrator's key that is a mistake."""
        return {name: value for name, value in values.items() if name == "api_key" or not _is_blank(value)}

    @model_validator(mode="after")
    def _ordinary_keys_are_not_the_administrators(self) -> Settings:
        if self.api_key in self.api_keys.values():
            raise ValueError("API_KEYS: no ordinary key may be the administrator's")
        return self

    @model_validator(mode="after")
    def _a_host_for_each_backend(self) -> Settings:
        if len(self.ollama_host_header) not in {0, 1, len(self.ollama_base_url)}:
            raise ValueError("OLLAMA_HOST_HEADER: name one for all backends, or as many as there are backends")
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("passthrough_routes", mode="before")
    @classmethod
    def _routes(cls, value: Any) -> Any:
        routes = tuple(_route(item) if isinstance(item, str) else item for item in _split(value))
        if len(set(routes)) < len(routes):
            raise ValueError("each route may stand there once only")
        return routes

    @field_validator("ollama_host_header", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        return tuple(_host_header(item) for item in _split(value))

    @field_validator("ollama_base_url", "openai_backends", mode="before")
    @classmethod
    def _urls(cls, value: Any) -> Any:
        urls = tuple(_backend_url(url) for url in _split(value))
        if len(set(urls)) < len(urls):
            raise ValueError("each backend may stand there once only")
        return urls

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: Any) -> Any:
        return tuple(_origin(origin) for origin in _split(value))

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(ip_network(item, strict=False) if isinstance(item, str) else item for item in _split(value))

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        return SecretStr(_key(value.get_secret_value()))

    @field_validator("api_keys", mode="before")
    @classmethod
    def _ordinary_keys(cls, value: Any) -> Any:
        return _named_keys(_split(value)) if isinstance(value, str) else value


def load_settings(env_file: str | None = ".env", **overrides: Any) -> Settings:
    """Read the environment and `env_file`.

    Raises:
        ConfigError: for the first value that cannot be used; the message is one line and names the variable.
    """
    try:
        return Settings(_env_file=env_file, **overrides)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = f"{first['loc'][0]}: ".upper() if first["loc"] else ""
        raise ConfigError(name + first["msg"].removeprefix("Value error, ")) from None


def key_source(env_file: str = ".env") -> str:
    """Where `API_KEY` was found, for people: the key itself is never shown."""
    if "API_KEY" not in os.environ or dotenv_values(env_file).get("API_KEY") == os.environ["API_KEY"]:
        return f"in {env_file}"
    return "in the environment"


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip(" ,")


def _split(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return tuple(value)


def _backend_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or any(map(str.isspace, url)):
        raise ValueError("each backend must be an address such as http://localhost:11434")
    return url.rstrip("/")


def _route(value: str) -> Route:
    method, _, path = value.partition(" ")
    root, *segments = path.split("/")
    usable = method in _METHODS and not root and segments[:1] in _FAMILIES and len(segments) > 1
    if not usable or not all(map(_SEGMENT.fullmatch, segments)):
        raise ValueError("each route must be written as a method and a path of Ollama's, such as POST /v1/systemone")
    return method, path


def _host_header(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name such as localhost:11434")
    return value


def _origin(value: str) -> str:
    scheme, separator, host = value.rstrip("/").partition("://")
    if value != "*" and not (scheme and separator and host):
        raise ValueError("each origin must be written as browsers send it, such as http://localhost:3000")
    return value.rstrip("/")


def _key(value: str) -> str:
    if not value:
        raise ValueError("must not be empty: set it to a long random text")
    if not (value.isascii() and value.isprintable()) or any(mark in value for mark in " ,"):
        raise ValueError("a key may hold printable ASCII characters only, without spaces and commas")
    return value


def _named_keys(pairs: tuple[str, ...]) -> dict[str, SecretStr]:
    keys = dict(_named_key(pair) for pair in pairs)
    if len(keys) < len(pairs) or len({key.get_secret_value() for key in keys.values()}) < len(keys):
        raise ValueError("each name and each key may stand there once only")
    return keys


def _named_key(pair: str) -> tuple[str, SecretStr]:
    name, separator, key = pair.partition(":")
    if not separator or not name.strip():
        raise ValueError("must be written name:key,name:key")
    if name.strip() in RESERVED_NAMES:
        raise ValueError(f"the names {' and '.join(RESERVED_NAMES)} are taken")
    return name.strip(), SecretStr(_key(key.strip()))
