"""The settings: the only reader of the environment and of `.env`.

Names, defaults and meanings are public; `docs/settings.md` lists them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mlops_backend import (
    setting_addresses,
    setting_backends,
    setting_files,
    setting_models,
    setting_servers,
    setting_stores,
)
from mlops_backend import setting_values as values_of
from mlops_backend.event_loop import Choice, chosen
from mlops_backend.principal import Limits, Price, Rate
from mlops_backend.setting_addresses import Network
from mlops_backend.setting_backends import BackendSetting
from mlops_backend.setting_models import Alias, KeepAlive
from mlops_backend.setting_parts import PartSettings
from mlops_backend.setting_servers import OpenAIServer
from mlops_backend.setting_values import Route

PLACEHOLDER_KEY = "your-secret-api-key-change-this"
DEFAULT_OLLAMA_URL = "http://localhost:11434"

MOST_TOKENS = 10**15
# A body is held in memory, whole, and more than once.
_LARGEST_BODY = 2**31 - 2
_DAY = 86_400

# Shorter than a network can be, or so long that a clock overflows: neither is meant.
Seconds = Annotated[float, Field(ge=0.001, le=365 * _DAY, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
RateLimit = Annotated[Rate | None, NoDecode, BeforeValidator(values_of.rate_or_none)]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Prices = Annotated[Mapping[str, Price], NoDecode, BeforeValidator(values_of.prices)]
Capabilities = Annotated[Mapping[str, frozenset[str]], NoDecode, BeforeValidator(values_of.capabilities)]
KeepAlives = Annotated[tuple[tuple[str, KeepAlive], ...], NoDecode, BeforeValidator(setting_models.keep_alives)]
_openai_servers = BeforeValidator(setting_servers.openai_servers)
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(values_of.capitals)]
Budget = Annotated[Tokens | None, NoDecode, BeforeValidator(values_of.count_or_none)]


class ConfigError(Exception):
    """A setting that cannot be used; the message is one line and names the variable."""


class Settings(PartSettings, BaseSettings):
    """Everything an operator can set; frozen, so that it can be handed to every part."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    ollama_base_url: Annotated[tuple[str, ...], NoDecode] = (DEFAULT_OLLAMA_URL,)
    ollama_host_header: Annotated[tuple[str, ...], NoDecode] = ()
    openai_backends: Annotated[tuple[OpenAIServer, ...], NoDecode, _openai_servers] = ()
    backends_file: str = ""
    api_key: SecretStr = SecretStr(PLACEHOLDER_KEY)
    api_keys: Annotated[Mapping[str, SecretStr], NoDecode] = {}
    auth_enabled: bool = True
    key_in_url: bool = False
    allow_account_routes: bool = False
    allow_cloud_models: bool = False
    passthrough_routes: Annotated[tuple[Route, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(setting_addresses.networks)] = ()
    root_path: Annotated[str, AfterValidator(setting_addresses.root_path)] = ""
    database_url: SecretStr = SecretStr("sqlite+aiosqlite:///data/mlops_backend.db")
    database_connections: int = Field(default=15, ge=3, le=1000)
    redis_url: SecretStr = SecretStr("")
    rate_limit_requests: RateLimit = None
    rate_limit_tokens: RateLimit = None
    tokens_per_day: Budget = None
    tokens_per_month: Budget = None
    concurrent_generations: Budget = None
    token_reserve: Tokens = 1024
    budgets_fail_open: bool = False
    auth_failure_limit: RateLimit = Rate(60, 60, 60)
    prices: Prices = {}
    model_capabilities: Capabilities = {}
    model_aliases: Annotated[tuple[Alias, ...], NoDecode, BeforeValidator(setting_models.aliases)] = ()
    pin_num_ctx: Annotated[tuple[tuple[str, int], ...], NoDecode, BeforeValidator(setting_models.contexts)] = ()
    pin_keep_alive: KeepAlives = ()
    usage_retention_days: int = Field(default=90, ge=1, le=36500)
    timezone: Annotated[str, AfterValidator(values_of.timezone)] = "UTC"
    end_user_hashed: bool = False
    end_user_secret: Annotated[SecretStr, AfterValidator(values_of.long_secret)] = SecretStr("")
    usage_buffer: int = Field(default=100_000, ge=1, le=10_000_000)
    default_context: int = Field(default=4096, ge=128, le=100_000_000)
    host: Annotated[str, AfterValidator(setting_addresses.listening_host)] = "0.0.0.0"
    port: Port = 8000
    metrics_port: Annotated[Port | None, NoDecode, BeforeValidator(values_of.count_or_none)] = None
    debug: bool = False
    workers: int = Field(default=1, ge=1, le=64)
    event_loop: Choice = "auto"
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000", "http://localhost")
    default_model: Annotated[str, AfterValidator(values_of.model_name)] = ""
    embedded_engine: Literal["auto", "on", "off"] = "auto"
    docs_enabled: bool = True
    connect_timeout: Seconds = 5.0
    first_byte_timeout: Seconds = 600.0
    idle_timeout: Seconds = 120.0
    send_timeout: Seconds = 60.0
    keep_alive_timeout: Seconds = 75.0
    max_connections: int = Field(default=4000, ge=1, le=1_000_000)
    max_connections_per_address: int = Field(default=2000, ge=1, le=1_000_000)
    probe_interval: Annotated[Seconds | None, NoDecode, BeforeValidator(values_of.count_or_none)] = 10.0
    upstream_max_connections: int = Field(default=2000, ge=1, le=100_000)
    max_concurrency: Budget = None
    max_queue: int = Field(default=1000, ge=1, le=100_000)
    max_queue_per_key: int = Field(default=500, ge=1, le=100_000)
    queue_timeout: Seconds = 120.0
    max_body_bytes: int = Field(default=33_554_432, ge=1, le=_LARGEST_BODY)
    max_json_values: int = Field(default=1_000_000, ge=1000)
    body_memory: int = Field(default=37_748_736, ge=1)
    body_memory_per_key: int = Field(default=33_554_432, ge=1)
    shutdown_delay: float = Field(default=0.0, ge=0, le=_DAY, allow_inf_nan=False)
    drain_timeout: float = Field(default=30.0, ge=0, le=_DAY, allow_inf_nan=False)
    log_level: LogLevel = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    audit_log: Annotated[str, AfterValidator(setting_files.written_file)] = ""

    @property
    def ollama_is_named(self) -> bool:
        """Whether the operator chose the backend, rather than leaving the default."""
        return "ollama_base_url" in self.model_fields_set

    @property
    def names_backends(self) -> bool:
        """Whether the operator chose any backend."""
        return self.ollama_is_named or bool(self.openai_backends or self.backends_file)

    def named_backends(self, text: str) -> tuple[BackendSetting, ...]:
        """The backends that the operator chose: those of the settings, then those of a `BACKENDS_FILE` with this text.

        Raises:
            UnusableFile: it cannot be used.
        """
        urls = self.ollama_base_url if self.ollama_is_named else ()
        own = setting_backends.of_settings(urls, self.host_headers, self.openai_backends)
        if not self.backends_file:
            return own
        return (*own, *setting_backends.read_backends(text, self.backends_file, own, _foreign_secret))

    @property
    def host_headers(self) -> Mapping[str, str]:
        """Address of a backend -> the `Host` it wants to be called by, for those that want another than their own."""
        names = self.ollama_host_header
        named = names * len(self.ollama_base_url) if len(names) == 1 else names
        return dict(zip(self.ollama_base_url, named, strict=False))

    @property
    def default_limits(self) -> Limits:
        """The limits of every key that has none of its own."""
        budgets = self.tokens_per_day, self.tokens_per_month, self.concurrent_generations
        return Limits(self.rate_limit_requests, self.rate_limit_tokens, *budgets)

    @property
    def end_user_key(self) -> str:
        """What names of end users are hashed with; empty where they are readable."""
        secret = self.end_user_secret.get_secret_value() or self.api_key.get_secret_value()
        return secret if self.end_user_hashed else ""

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`NAME=` in a file means that nobody chose; only for the administrator's key that is a mistake."""
        return {name: value for name, value in values.items() if name == "api_key" or not values_of.is_blank(value)}

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.api_key in self.api_keys.values():
            raise ValueError("API_KEYS: no ordinary key may be the administrator's")
        if self.end_user_key == PLACEHOLDER_KEY:
            raise ValueError("END_USER_HASHED: everybody knows this API_KEY; set it, or END_USER_SECRET, to a secret")
        if len(self.ollama_host_header) not in {0, 1, len(self.ollama_base_url)}:
            raise ValueError("OLLAMA_HOST_HEADER: name one for all backends, or as many as there are backends")
        try:
            self.named_backends(setting_backends.read_text(self.backends_file))
        except setting_backends.UnusableFile as error:
            raise ValueError(f"BACKENDS_FILE: {error}") from None
        return self

    @field_validator("passthrough_routes", mode="before")
    @classmethod
    def _routes(cls, value: Any) -> Any:
        return values_of.once_each(map(values_of.passed_route, values_of.split(value)), "route")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr) -> SecretStr:
        return SecretStr(setting_stores.database_url(value.get_secret_value()))

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr) -> SecretStr:
        return SecretStr(setting_stores.redis_url(value.get_secret_value()))

    @field_validator("ollama_host_header", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        return tuple(setting_addresses.host_header(item) for item in values_of.split(value))

    @field_validator("ollama_base_url", mode="before")
    @classmethod
    def _ollamas(cls, value: Any) -> Any:
        return values_of.once_each(map(setting_addresses.backend_url, values_of.split(value)), "backend")

    @field_validator("event_loop")
    @classmethod
    def _installed_loop(cls, value: Choice) -> Choice:
        chosen(value)
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: Any) -> Any:
        return tuple(setting_addresses.allowed_origin(origin) for origin in values_of.split(value))

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        return SecretStr(values_of.usable_key(value.get_secret_value()))

    @field_validator("api_keys", mode="before")
    @classmethod
    def _ordinary_keys(cls, value: Any) -> Any:
        return values_of.named_keys(values_of.split(value)) if isinstance(value, str) else value


def environment_with_libraries(folder: Path) -> dict[str, str]:
    """This process's environment, for a child whose shared libraries may lie in `folder` too."""
    known = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": f"{known}:{folder}" if known else str(folder)}


def load_settings(env_file: str | None = ".env", **overrides: Any) -> Settings:
    """Read the environment and `env_file`.

    Raises:
        ConfigError: for the first value that cannot be used; the message is one line and names the variable.
    """
    try:
        setting_files.check_encoding(env_file)
        secrets = setting_files.read_secrets(_variables(env_file))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        return Settings(_env_file=env_file, **{**secrets, **overrides})  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = f"{first['loc'][0]}: ".upper() if first["loc"] else ""
        raise ConfigError(name + first["msg"].removeprefix("Value error, ")) from None


def _variables(env_file: str | None) -> dict[str, str | None]:
    """All variables, by their names in capitals: case does not matter, and the environment wins."""
    found = {**(dotenv_values(env_file) if env_file else {}), **os.environ}
    return {name.upper(): value for name, value in found.items()}


def _foreign_secret(name: str) -> str:
    """What a variable holds that is none of this service's own, in the environment or `.env` as they are now."""
    if name.upper().removesuffix(setting_files.SUFFIX).lower() in Settings.model_fields:
        raise ValueError("must not name one of this service's own settings")
    return _variables(".env").get(name.upper()) or ""


def key_source(env_file: str = ".env") -> str:
    """Where `API_KEY` was found, for people: the key itself is never shown."""
    if file := _variables(env_file).get(f"API_KEY{setting_files.SUFFIX}"):
        return f"in {file}"
    if "API_KEY" not in os.environ or dotenv_values(env_file).get("API_KEY") == os.environ["API_KEY"]:
        return f"in {env_file}"
    return "in the environment"
