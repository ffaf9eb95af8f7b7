"""Secrets in files: what `NAME_FILE` names counts as if `NAME` said it, and whatever is wrong is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_backend.banner import banner
from mlops_backend.config import ConfigError, Settings, load_settings
from mlops_backend.setting_files import SECRETS

VALUES = {
    "API_KEY": "key-in-a-file",
    "API_KEYS": "one:key-of-one,two:key-of-two",
    "DATABASE_URL": "postgresql+asyncpg://mlops:secret@db.example/mlops",
    "REDIS_URL": "redis://:secret@redis.example:6379/0",
    "END_USER_SECRET": "a-secret-for-names-of-people",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret",
    "OLLAMA_BASE_URL": "http://user:secret@ollama.example:11434",
    "OPENAI_BACKENDS": "http://:secret@vllm.example:8000",
}


@pytest.fixture(autouse=True)
def _no_files_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    for name in SECRETS:
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def named(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, content: bytes) -> Path:
    """A file that a variable names."""
    file = folder / "secret"
    file.write_bytes(content)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    return file


def test_every_secret_may_be_in_a_file() -> None:
    """Whatever is never shown, or may have a password in its address."""
    hidden = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert hidden | {"OLLAMA_BASE_URL", "OPENAI_BACKENDS"} == set(SECRETS) == set(VALUES)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", SECRETS)
def test_what_a_file_holds_is_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str) -> None:
    """As if it stood in the environment, and the line's end is no part of it."""
    monkeypatch.setenv(name, VALUES[name])
    plain = load_settings(None)
    monkeypatch.delenv(name)
    named(monkeypatch, tmp_path, name, (VALUES[name] + end).encode())
    assert load_settings(None) == plain
    assert name.lower() in load_settings(None).model_fields_set


@pytest.mark.parametrize(("name", "member"), [("API_KEYS", "api_keys"), ("OPENAI_BACKENDS", "openai_backends")])
def test_an_item_of_a_list_may_have_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, member: str
) -> None:
    """Files of secrets are written so."""
    items = {"API_KEYS": "one:key-of-one\ntwo:key-of-two\n", "OPENAI_BACKENDS": "http://a:1\r\nhttp://b:2\r\n"}
    named(monkeypatch, tmp_path, name, items[name].encode())
    assert len(getattr(load_settings(None), member)) == 2


def test_a_file_may_be_named_in_the_file_of_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment wins over it, and the banner says where the key is, without the key."""
    named(monkeypatch, tmp_path, "API_KEY", b"key-in-a-file\n")
    monkeypatch.delenv("API_KEY_FILE")
    (tmp_path / ".env").write_text(f"API_KEY_FILE={tmp_path}/secret\n")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.api_key.get_secret_value() == "key-in-a-file"
    shown = banner(settings, 8000, [])
    assert f"API_KEY in {tmp_path}/secret; send it as X-API-Key" in shown
    assert "key-in-a-file" not in shown


@pytest.mark.parametrize("where", ["environment", "file"])
def test_both_are_one_too_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    """Nobody could tell which is meant; a name without a value is none."""
    named(monkeypatch, tmp_path, "API_KEY", b"key-in-a-file")
    env_file = tmp_path / ".env"
    env_file.write_text("API_KEY=another-key\n" if where == "file" else "")
    if where == "environment":
        monkeypatch.setenv("API_KEY", "another-key")
    with pytest.raises(ConfigError, match=r"^API_KEY_FILE: API_KEY is set as well[^\n]+$"):
        load_settings(str(env_file))
    env_file.write_text("API_KEY=\n")
    monkeypatch.setenv("API_KEY", "")
    assert load_settings(str(env_file)).api_key.get_secret_value() == "key-in-a-file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \r\n\n", "is empty"),
        ("schlüssel".encode("utf-16"), "is no text in UTF-8"),
        (b"x" * 1_048_577, "is larger than a secret can be"),
    ],
)
def test_a_file_that_is_no_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, words: str
) -> None:
    """In one line that names the variable and the file, and nothing of what it holds."""
    file = named(monkeypatch, tmp_path, "API_KEY", content)
    with pytest.raises(ConfigError) as refused:
        load_settings(None)
    assert str(refused.value) == f"API_KEY_FILE: {file} {words}"


def test_a_file_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is not there, and a folder."""
    for path, words in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        monkeypatch.setenv("REDIS_URL_FILE", str(path))
        with pytest.raises(ConfigError) as refused:
            load_settings(None)
        assert str(refused.value) == f"REDIS_URL_FILE: {path} cannot be read: {words}"


def test_a_value_that_cannot_be_used_names_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same line as without a file."""
    named(monkeypatch, tmp_path, "DATABASE_URL", b"mysql://host/db\n")
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: must be written sqlite:///"):
        load_settings(None)
