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
        ("OLLAMA_BASE_URL", "http://a:70000"),
        ("OLLAMA_BASE_URL", "http://a:0"),
        ("OLLAMA_BASE_URL", "http://a:"),
        ("OLLAMA_BASE_URL", "http://a/?"),
        ("OLLAMA_BASE_URL", "http://a#"),
        ("OLLAMA_BASE_URL", "http://a/\u200b"),
        ("OLLAMA_BASE_URL", "http://a\\b"),
        ("OLLAMA_BASE_URL", "http://[::1"),
        ("OLLAMA_BASE_URL", "http://::1"),
        ("OLLAMA_BASE_URL", "http://[fe80::1%eth0]:11434"),
        ("OLLAMA_BASE_URL", "http://11434"),
        ("OLLAMA_BASE_URL", "http://10.0.0.256:11434"),
        ("OLLAMA_BASE_URL", "http://a..b"),
        ("OLLAMA_BASE_URL", "http://ü..b"),
        ("OLLAMA_BASE_URL", "http://straße.example"),
        ("OLLAMA_BASE_URL", "http://a,HTTP://A:80/"),
        ("OLLAMA_BASE_URL", "http://bücher.example,http://xn--bcher-kva.example"),
        ("OPENAI_BACKENDS", "http://[::1]:1/v1,http://[0:0::1]:1/v1"),
        ("OLLAMA_BASE_URL", "http://<host>:11434"),
        ("OPENAI_BACKENDS", "http://a:1/v1,http://a:1/v1/"),
        ("OPENAI_BACKENDS", "http://:key%0Atwo@a"),
        ("OPENAI_BACKENDS", "http://:schlüssel@a"),
        ("OPENAI_BACKENDS", "http://a model"),
        ("OPENAI_BACKENDS", "http://a model="),
        ("OPENAI_BACKENDS", "http://a counts=no"),
        ("OPENAI_BACKENDS", "http://a models=x"),
        ("OPENAI_BACKENDS", "http://a model=x:"),
        ("OPENAI_BACKENDS", "http://a model=x model=x"),
        ("OPENAI_BACKENDS", "http://a model=x,http://a/ model=y"),
        ("OPENAI_BACKENDS", "model=x http://a"),
        ("OLLAMA_HOST_HEADER", "http://localhost"),
        ("OLLAMA_HOST_HEADER", "localhost:70000"),
        ("OLLAMA_HOST_HEADER", "localhost:"),
        ("OLLAMA_HOST_HEADER", "local host"),
        ("OLLAMA_HOST_HEADER", "[:::]"),
        ("HOST", "http://0.0.0.0"),
        ("HOST", "localhost:8000"),
        ("HOST", "[::]"),
        ("HOST", "::1%lo"),
        ("HOST", "8000"),
        ("HOST", "127.1"),
        ("HOST", "*"),
        ("DEFAULT_MODEL", "llama3, mistral"),
        ("DEFAULT_MODEL", "llama 3"),
        ("DEFAULT_MODEL", "llama3:"),
        ("DEFAULT_MODEL", "library/"),
        ("DEFAULT_MODEL", "llama3\x1b"),
        ("DEFAULT_MODEL", "x" * 513),
        ("ALLOWED_ORIGINS", "localhost:3000"),
        ("ALLOWED_ORIGINS", "http://a/path"),
        ("ALLOWED_ORIGINS", "http://a//"),
        ("ALLOWED_ORIGINS", "http://a?b"),
        ("ALLOWED_ORIGINS", "http://a#b"),
        ("ALLOWED_ORIGINS", "http://u:p@a"),
        ("ALLOWED_ORIGINS", "http://a b"),
        ("ALLOWED_ORIGINS", "http://a:port"),
        ("ALLOWED_ORIGINS", "http://a:70000"),
        ("ALLOWED_ORIGINS", "http://a:"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "*, https://*.example.com"),
        ("ALLOWED_ORIGINS", "http://*"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "http://a;http://b"),
        ("ALLOWED_ORIGINS", '"http://a"'),
        ("ALLOWED_ORIGINS", "https://straße.example"),
        ("ALLOWED_ORIGINS", "https://b\u2028.example"),
        ("ALLOWED_ORIGINS", "wss://a.example"),
        ("ALLOWED_ORIGINS", "file://a"),
        ("ALLOWED_ORIGINS", "http://127.1"),
        ("ALLOWED_ORIGINS", "http://a.1"),
        ("ALLOWED_ORIGINS", "http://0x7f000001:3000"),
        ("ALLOWED_ORIGINS", "http://[fe80::1%eth0]"),
        ("API_KEYS", "admin:key"),
        ("API_KEYS", "web:your-secret-api-key-change-this"),
        ("API_KEY", "two words"),
        ("API_KEY", "schlüssel"),
        ("API_KEYS", "nameless"),
        ("API_KEYS", "name:"),
        ("API_KEYS", "a:same,b:same"),
        ("API_KEYS", "a:one,a:two"),
        ("API_KEY", "x" * 4097),
        ("API_KEYS", "two\x1blines:key"),
        ("API_KEYS", f"{'x' * 201}:key"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "1.2.3.4/33"),
        ("TRUSTED_PROXIES", "::ffff:10.0.0.1"),
        ("TRUSTED_PROXIES", "0.0.0.0"),
        ("TRUSTED_PROXIES", "::"),
        ("TRUSTED_PROXIES", "255.255.255.255"),
        ("TRUSTED_PROXIES", "224.0.0.0/4"),
        ("TRUSTED_PROXIES", "ff02::1"),
        ("TRUSTED_PROXIES", "10.0.0.1:8080"),
        ("TRUSTED_PROXIES", "[::1]"),
        ("ROOT_PATH", "llm"),
        ("ROOT_PATH", "https://a.example/llm"),
        ("ROOT_PATH", "/llm//x"),
        ("ROOT_PATH", "/llm/../x"),
        ("ROOT_PATH", "/l l"),
        ("ROOT_PATH", "/l%6Cm"),
        ("ROOT_PATH", "//llm"),
        ("ROOT_PATH", "/api/llm"),
        ("ROOT_PATH", "/v1"),
        ("MODEL_CAPABILITIES", "*=completion,llava=vision"),
        ("MODEL_CAPABILITIES", "llava=completion,LLaVA=vision"),
        ("PASSTHROUGH_ROUTES", "POST /v1/a,POST /v1/a"),
        ("PASSTHROUGH_ROUTES", "POST /v1/a, GET /api/b,POST /v1/a ,"),
        ("AUTH_ENABLED", "perhaps"),
        ("EMBEDDED_ENGINE", "maybe"),
        ("CONNECT_TIMEOUT", "0"),
        ("FIRST_BYTE_TIMEOUT", "nan"),
        ("IDLE_TIMEOUT", "inf"),
        ("IDLE_TIMEOUT", "31536001"),
        ("CONNECT_TIMEOUT", "0.0009"),
        ("DRAIN_TIMEOUT", "-1"),
        ("DRAIN_TIMEOUT", "86401"),
        ("UPSTREAM_MAX_CONNECTIONS", "0"),
        ("MAX_BODY_BYTES", "-5"),
        ("MAX_BODY_BYTES", "2147483647"),
        ("CONVERSATION_BYTES", "1000000000000001"),
        ("CONVERSATION_BYTES_PER_KEY", "1000000000000001"),
        ("DATABASE_URL", "mysql://u:secret@host/db"),
        ("DATABASE_URL", "postgresql://u:secret@host:port/db"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?channel_binding=require"),
        ("DATABASE_URL", "postgresql://u:secret@host:70000/db"),
        ("DATABASE_URL", "postgresql://u:secret@host:0/db"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?port=70000"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?port=x"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?host=a:1&host=b:70000"),
        ("DATABASE_URL", "postgresql://u:secret@a host/db"),
        ("DATABASE_URL", "postgresql://u:sec@ret@host/db"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?sslmode=true"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?ssl=require&ssl=require"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?user=a&user=b"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?target_session_attrs=master"),
        ("DATABASE_URL", "postgresql://u:secret@host/db?prepared_statement_cache_size=x"),
        ("DATABASE_URL", "sqlite://file.db"),
        ("DATABASE_URL", "sqlite:///file.db?mode=ro"),
        ("DATABASE_URL", "sqlite:///file:file.db"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:///~/file.db"),
        ("DATABASE_URL", "sqlite:///file\x1b.db"),
        ("REDIS_URL", "http://:secret@host"),
        ("REDIS_URL", "redis://:secret@host:port/0"),
        ("REDIS_URL", "redis://:sec/ret@host:6379"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "redis://h/notadb"),
        ("REDIS_URL", "redis://h/0/1"),
        ("REDIS_URL", "redis://h/0\n"),
        ("REDIS_URL", "redis://h/-1"),
        ("REDIS_URL", "redis://h?db=x"),
        ("REDIS_URL", "redis://h/1?db=2"),
        ("REDIS_URL", "redis://h?db=1&db=2"),
        ("REDIS_URL", "redis://h/0#x"),
        ("REDIS_URL", "redis://h:0"),
        ("REDIS_URL", "redis://h:70000"),
        ("REDIS_URL", "redis://a b"),
        ("REDIS_URL", "redis://h?decode_responses=true"),
        ("REDIS_URL", "redis://h?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss://h?ssl_cert_reqs=never"),
        ("REDIS_URL", "rediss://h?ssl_min_version=TLSv1"),
        ("REDIS_URL", "unix://path/to/socket"),
        ("REDIS_URL", "redis+sentinel://:secret@host:26379"),
        ("REDIS_URL", "redis+sentinel://:secret@/name"),
        ("REDIS_URL", "redis+sentinel://:secret@a,/name"),
        ("REDIS_URL", "redis+sentinel://:secret@a:0,b/name"),
        ("REDIS_URL", "redis+sentinel://:secret@host:port/name"),
        ("REDIS_URL", "redis+sentinel://:sec/ret@host/name"),
        ("REDIS_URL", "redis+sentinel://host/na me/0"),
        ("REDIS_URL", "redis+sentinel://host/name/x"),
        ("REDIS_URL", "redis+sentinel://host/name/0/1"),
        ("REDIS_URL", "redis+sentinel://host/name/1?db=2"),
        ("REDIS_URL", "redis+sentinel://host/name?sentinel_password=secret#x"),
        ("REDIS_URL", "redis+sentinel://host/name?sentinel_password=secret&sentinel_password=secret"),
        ("REDIS_URL", "redis+sentinel://host/name?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss+sentinel://host/name?ssl_cert_reqs=never"),
        ("REDIS_URL", "redis://host?sentinel_password=secret"),
        ("REDIS_URL", "unix://:secret@/"),
        ("PRICES", "llama3=1/1,LLAMA3=2/2"),
        ("PRICES", "*=1/1,llama3=2/2"),
        ("PRICES", "llama 3=1/1"),
        ("PRICES", "llama3=nan/1"),
        ("PRICES", "llama3=1/snan"),
        ("LOG_LEVEL", "loud"),
        ("TIMEZONE", "Mars/Base"),
        ("TIMEZONE", "Europe"),
        ("TIMEZONE", "../../etc/passwd"),
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
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_BASE_URL", "http://my_ollama:11434,http://ollama.1:11434"),
        ("OLLAMA_BASE_URL", "http://ollama.example.:11434/prefix"),
        ("OLLAMA_BASE_URL", "HTTPS://user:p%40ss@[::1]:11434"),
        ("OLLAMA_BASE_URL", "http://bücher.example:11434"),
        ("OPENAI_BACKENDS", "http://:key@host:8000/v1"),
        ("OPENAI_BACKENDS", "http://:key@host:8000/v1  model=command-r+ model=org/b:c counts=estimated , http://b"),
        ("OLLAMA_HOST_HEADER", "[::1]:11434"),
        ("OLLAMA_HOST_HEADER", "localhost"),
        ("HOST", "::"),
        ("HOST", "localhost"),
        ("HOST", "192.168.0.1"),
        ("DEFAULT_MODEL", "registry.ollama.ai/library/llama3.2:3b"),
        ("DEFAULT_MODEL", "meta-llama/Llama-3.1-8B-Instruct"),
        ("DEFAULT_MODEL", "/models/llama.gguf"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "http://127.0.0.1:3000,http://[::1]:3000,https://a.example:8443,http://a:443"),
        ("ALLOWED_ORIGINS", "chrome-extension://abcdefghijklmnop,tauri://localhost"),
        ("API_KEYS", "Müller's laptop:key"),
        ("API_KEY", "x" * 4096),
        ("TRUSTED_PROXIES", "0.0.0.0/0,::/0,10.0.0.0/255.0.0.0,fe80::1"),
        ("ROOT_PATH", "/"),
        ("ROOT_PATH", "/llm/v1/"),
        ("CONNECT_TIMEOUT", "0.001"),
        ("FIRST_BYTE_TIMEOUT", "31536000"),
        ("DRAIN_TIMEOUT", "0"),
        ("DRAIN_TIMEOUT", "86400"),
        ("MAX_BODY_BYTES", "2147483646"),
        ("DATABASE_URL", "postgresql:///db?host=/var/run/postgresql"),
        ("DATABASE_URL", "postgresql://u:p@[::1]:5433/db?target_session_attrs=read-write"),
        ("DATABASE_URL", "postgresql://u:p@/db?host=a:1&host=b:2"),
        ("DATABASE_URL", "sqlite:////var/lib/a file.db"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:6380/"),
        ("REDIS_URL", "redis://u:p%40ss@[::1]:6379/15"),
        ("REDIS_URL", "redis://my_redis?db=3"),
        ("REDIS_URL", "rediss://h/0?ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem"),
        ("REDIS_URL", "unix://:p@/run/redis.sock?db=1"),
        ("REDIS_URL", "redis+sentinel://sentinel/my-primary_1.a"),
        (
            "REDIS_URL",
            "redis+sentinel://u:p%40ss@a,b:26380,[::1]:5,[::2]/name/15?sentinel_username=s&sentinel_password=",
        ),
        ("REDIS_URL", "rediss+sentinel://h/name?db=3&ssl_ca_certs=/etc/ca.pem"),
        ("PRICES", "llama3*=0.10/0.40,*=0.05/0.20"),
    ],
)
def test_an_odd_value_that_works_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What looks strange and has a meaning starts the service."""
    monkeypatch.setenv(name, value)
    assert name.lower() in load_settings(None).model_fields_set


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("http://a:80", "http://a"),
        ("https://a:443/", "https://a"),
        ("https://a:80", "https://a:80"),
        ("http://a:08080", "http://a:8080"),
        ("HTTPS://App.Example", "https://app.example"),
        ("https://Bücher.example:8443", "https://xn--bcher-kva.example:8443"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("http://[::FFFF:127.0.0.1]", "http://[::ffff:7f00:1]"),
        ("http://10.0.0.1", "http://10.0.0.1"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(monkeypatch: pytest.MonkeyPatch, written: str, sent: str) -> None:
    """What names an origin in another spelling than a browser's means that origin."""
    monkeypatch.setenv("ALLOWED_ORIGINS", f"http://first.example,{written}")
    assert load_settings(None).allowed_origins == ("http://first.example", sent)


def test_a_backend_has_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capitals, a scheme's own port and letters beyond ASCII make no other backend; a login and a path stay."""
    monkeypatch.setenv("OLLAMA_BASE_URL", "HTTPS://User:P%40ss@BÜCHER.Example:443/Path/,http://[0::1]:80")
    assert load_settings(None).ollama_base_url == (
        "https://User:P%40ss@xn--bcher-kva.example/Path",
        "http://[::1]",
    )


def test_an_address_that_is_no_network_is_told_which_one_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote bits of a machine behind a network's length meant the machine, or all of the network."""
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.1, 1.2.3.4/8")
    with pytest.raises(ConfigError, match=r"^TRUSTED_PROXIES: 1\.2\.3\.4/8 is one address.* would be 1\.0\.0\.0/8$"):
        load_settings(None)


def test_a_default_model_in_the_cloud_must_be_allowed() -> None:
    """Else each request that names no model would be refused."""
    with pytest.raises(ConfigError, match=r"^DEFAULT_MODEL: .*ALLOW_CLOUD_MODELS"):
        create_app(settings_for(default_model="gpt-oss:120b-cloud"))
    create_app(settings_for(default_model="gpt-oss:120b-cloud", allow_cloud_models=True))


def test_names_are_hashed_with_what_nobody_knows() -> None:
    """With the administrator's key, or with a secret of its own; with neither the placeholder nor a short one."""
    known = Settings.model_fields["api_key"].default.get_secret_value()
    hashed = settings_for(end_user_hashed=True)
    assert hashed.end_user_key == hashed.api_key.get_secret_value()
    assert settings_for(end_user_hashed=True, end_user_secret="x" * 16, api_key=known).end_user_key == "x" * 16
    assert settings_for(end_user_secret="x" * 16).end_user_key == ""
    with pytest.raises(ConfigError, match=r"^END_USER_HASHED: everybody knows this API_KEY"):
        load_settings(None, end_user_hashed=True, api_key=known)
    with pytest.raises(ConfigError, match=r"^END_USER_SECRET: must have 16 characters"):
        load_settings(None, end_user_secret="x" * 15)


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
