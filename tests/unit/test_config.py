"""Settings: defaults, parsing, and refusals that name the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_backend.app import create_app
from mlops_backend.config import ConfigError, Settings, load_settings
from tests.service import settings_for


def test_defaults_are_the_documented_ones() -> None:
    """With nothing set the service looks for Ollama where it listens by default."""
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings.ollama_base_url == ("http://localhost:11434",)
    assert not settings.ollama_is_named
    assert (settings.host, settings.port, settings.drain_timeout) == ("0.0.0.0", 8000, 30)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends, keys, origins and proxies are comma-separated; blanks and trailing slashes do not matter."""
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://a:1/, https://u:p@b/x/ ,")
    monkeypatch.setenv("API_KEYS", "web:k1, batch:k2:with-colon")
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://app.example/, http://localhost")
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.1, 192.168.0.0/16")
    settings = load_settings(None)
    assert settings.ollama_base_url == ("http://a:1", "https://u:p@b/x")
    assert settings.ollama_is_named
    assert {name: key.get_secret_value() for name, key in settings.api_keys.items()} == {
        "web": "k1",
        "batch": "k2:with-colon",
    }
    assert settings.allowed_origins == ("https://app.example", "http://localhost")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.1/32", "192.168.0.0/16"]


def test_an_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NAME=` in a file means that nobody chose; for the administrator's key it is refused."""
    for name in Settings.model_fields:
        if name != "api_key":
            monkeypatch.setenv(name.upper(), "")
    settings = load_settings(None)
    assert settings == Settings(_env_file=None)  # type: ignore[call-arg]
    assert not settings.ollama_is_named
    monkeypatch.setenv("OLLAMA_BASE_URL", " , ")
    assert load_settings(None).ollama_base_url == ("http://localhost:11434",)
    monkeypatch.setenv("API_KEY", "")
    with pytest.raises(ConfigError, match=r"^API_KEY: must not be empty"):
        load_settings(None)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` is read; a variable of the environment overrides it; unknown names in it are ignored."""
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=9001\nLOG_LEVEL=debug\nQUART_APP=wsgi:app\n")
    assert (load_settings(str(env_file)).port, load_settings(str(env_file)).log_level) == (9001, "DEBUG")
    monkeypatch.setenv("PORT", "9002")
    assert load_settings(str(env_file)).port == 9002


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("OLLAMA_BASE_URL", "localhost:11434"),
        ("OLLAMA_BASE_URL", "ftp://host"),
        ("OLLAMA_BASE_URL", "http://host:port"),
        ("OLLAMA_BASE_URL", "http://host/?a=b"),
        ("OLLAMA_BASE_URL", "http://a b"),
        ("OLLAMA_BASE_URL", "http://a:1,http://a:1/"),
        ("ALLOWED_ORIGINS", "localhost:3000"),
        ("API_KEYS", "admin:key"),
        ("API_KEYS", "web:your-secret-api-key-change-this"),
        ("API_KEY", "two words"),
        ("API_KEY", "schlüssel"),
        ("API_KEYS", "nameless"),
        ("API_KEYS", "name:"),
        ("API_KEYS", "a:same,b:same"),
        ("API_KEYS", "a:one,a:two"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("PASSTHROUGH_ROUTES", "POST /v1/a,POST /v1/a"),
        ("PASSTHROUGH_ROUTES", "POST /v1/a, GET /api/b,POST /v1/a ,"),
        ("AUTH_ENABLED", "perhaps"),
        ("EMBEDDED_ENGINE", "maybe"),
        ("CONNECT_TIMEOUT", "0"),
        ("FIRST_BYTE_TIMEOUT", "nan"),
        ("IDLE_TIMEOUT", "inf"),
        ("DRAIN_TIMEOUT", "-1"),
        ("UPSTREAM_MAX_CONNECTIONS", "0"),
        ("MAX_BODY_BYTES", "-5"),
        ("DATABASE_URL", "mysql://u:secret@host/db"),
        ("DATABASE_URL", "postgresql://u:secret@host:port/db"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?channel_binding=require"),
        ("DATABASE_URL", "sqlite://file.db"),
        ("REDIS_URL", "http://:secret@host"),
        ("REDIS_URL", "redis://:secret@host:port/0"),
        ("REDIS_URL", "redis://:sec/ret@host:6379"),
        ("REDIS_URL", "redis://[::1"),
        ("PRICES", "llama3=nan/1"),
        ("PRICES", "llama3=1/snan"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The refusal is one line, begins with the variable, and does not repeat a key."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load_settings(None)
    assert str(refused.value).startswith(f"{name}: ")
    assert "\n" not in str(refused.value)
    if name.startswith(("API_KEY", "DATABASE", "REDIS")):
        assert value not in str(refused.value)


def test_a_database_may_be_asked_for_encryption_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sslmode`, which every other client of PostgreSQL takes, is not a parameter of the driver's."""
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@host/db?host=other&sslmode=require")
    url = load_settings(None).database_url.get_secret_value()
    assert url == "postgresql+asyncpg://u:p@host/db?host=other&ssl=require"


def test_keys_do_not_show() -> None:
    """Printing the settings shows no key."""
    settings = Settings(_env_file=None, api_key="hidden-1", api_keys="a:hidden-2")  # type: ignore[call-arg,arg-type]
    assert "hidden" not in repr(settings)


def test_routes_may_be_much_alike() -> None:
    """Routes that are let through differ by their method or by a single mark, and none is in another's way."""
    routes = "POST /v1/a.b,POST /v1/a_b,POST /v1/a-b,GET /v1/a.b,PUT /v1/a.b/c"
    app = create_app(settings_for(passthrough_routes=routes))
    rules = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    assert {(path, method) for method, path in (route.split(" ") for route in routes.split(","))} <= rules
