"""`BACKENDS_FILE`: what may stand in it, and what is said of what may not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.config import ConfigError, Settings, load_settings
from mlops_backend.setting_backend_fields import _FIELDS
from mlops_backend.setting_backends import BackendSetting, UnusableFile, of_settings, read_backends, read_text
from mlops_backend.setting_servers import OpenAIServer
from tests.e2e.page_blocks import DOCS, read_blocks, read_table
from tests.settings import settings_for

EXAMPLE: Final = DOCS / "examples" / "backends.toml"
KEYS: Final[Mapping[str, str]] = {"VLLM_KEY": "sk-of-vllm", "EMPTY": "", "STRANGE": "ke\ny"}
OLLAMA: Final = '[[backend]]\nurl = "http://a:1"\nkind = "ollama"\n'
OPENAI: Final = '[[backend]]\nurl = "http://a:1"\nkind = "openai"\n'


def secret(name: str) -> str:
    """What the variables of these tests hold."""
    return KEYS.get(name, "")


def read(text: str, *known: BackendSetting) -> tuple[BackendSetting, ...]:
    """The backends of a file with this text."""
    return read_backends(text, "/etc/mlops/backends.toml", known, secret)


def refusal(text: str, *known: BackendSetting) -> str:
    """What is said of a file with this text; one line, without a key."""
    with pytest.raises(UnusableFile) as caught:
        read(text, *known)
    words = str(caught.value)
    assert "\n" not in words
    assert not any(key and key in words for key in KEYS.values())
    return words


def test_the_example_says_all_that_can_be_said() -> None:
    """Each field stands in it once at least, and is read as its comment says."""
    desk, attic, vllm = read(EXAMPLE.read_text("utf-8"))
    assert desk == BackendSetting("desk", "http://localhost:11434", "ollama", source="file")
    assert (attic.most, attic.weight, attic.host_header, attic.tags) == (4, 2.0, "localhost:11434", ("gpu", "attic"))
    assert (vllm.kind, vllm.key, vllm.most, vllm.weight) == ("openai", "sk-of-vllm", 64, 1.0)
    assert (vllm.models, vllm.counts) == (("org/not-listed",), False)
    can = {"org/*-vision": frozenset({"completion", "vision"}), "org/*": frozenset({"completion", "tools"})}
    assert dict(vllm.capabilities) == can
    assert list(dict(vllm.capabilities)) == list(can), "the first that fits counts"
    written = set(re.findall(r"^(?:(\w+) =|\[backend\.(\w+)\])", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    assert {first or second for first, second in written} == {*_FIELDS, "api_key_env"}


def test_the_page_names_the_fields() -> None:
    """The table is the fields, and the page's own file can be used."""
    assert {row[0].strip("`") for row in read_table("operating.md", "Backends in a file")} == {*_FIELDS, "api_key_env"}
    (attic,) = read(read_blocks()["backends-file"].text)
    assert (attic.name, attic.most, attic.tags) == ("attic", 4, ("gpu",))


def test_what_is_left_out() -> None:
    """Has no name but its address, no bound, weight 1, and nothing else."""
    assert read(OLLAMA) == (BackendSetting("", "http://a:1", "ollama", source="file"),)


WRONG: Final[Mapping[str, tuple[str, str]]] = {
    "a bound of none": (OLLAMA + "max_concurrency = 0", "line 4: max_concurrency must be a whole number from 1"),
    "a bound that is a text": (OLLAMA + 'max_concurrency = "4"', "line 4: max_concurrency must be a whole number"),
    "a bound that is true": (OLLAMA + "max_concurrency = true", "line 4: max_concurrency must be"),
    "a bound that is broken": (OLLAMA + "max_concurrency = 1.5", "line 4: max_concurrency must be"),
    "no weight": (OLLAMA + "weight = 0", "line 4: weight must be a number larger than 0"),
    "a weight that is no number": (OLLAMA + "weight = nan", "line 4: weight must be a number"),
    "an endless weight": (OLLAMA + "weight = inf", "line 4: weight must be a number"),
    "a weight that is true": (OLLAMA + "weight = true", "line 4: weight must be a number"),
    "an unknown field": (OLLAMA + "wieght = 1", "line 4: wieght is unknown; known are name, url, kind"),
    "a key": (OPENAI + 'api_key = "sk-of-vllm"', "line 4: api_key: a key does not belong into this file"),
    "a token": (OPENAI + 'Bearer-Token = "sk-of-vllm"', "line 4: Bearer-Token: a key does not belong into this file"),
    "a key in the address": ('[[backend]]\nurl = "http://:sk-of-vllm@a:1"', "line 2: url: a key does not belong"),
    "a key in a name's place": (OPENAI + 'api_key_env = "sk-of-vllm"', "line 4: api_key_env must be the name of"),
    "no such variable": (OPENAI + 'api_key_env = "NONE"', "line 4: api_key_env: there is no such variable"),
    "an empty variable": (OPENAI + 'api_key_env = "EMPTY"', "line 4: api_key_env: there is no such variable"),
    "a key with a line's end": (OPENAI + 'api_key_env = "STRANGE"', "line 4: api_key_env: a backend's key may hold"),
    "no address": ('[[backend]]\nkind = "ollama"', "line 1: url is missing"),
    "no kind": ('\n[[backend]]\nurl = "http://a:1"', "line 2: kind is missing"),
    "another kind": ('[[backend]]\nurl = "http://a"\nkind = "vllm"', 'line 3: kind must be "ollama" or "openai"'),
    "a kind that is a list": ('[[backend]]\nkind = ["ollama"]', 'line 2: kind must be "ollama" or "openai"'),
    "no address of HTTP": ('[[backend]]\nurl = "ftp://a"', "line 2: url: each backend must be an address"),
    "an address that is a number": ("[[backend]]\nurl = 1", "line 2: url must be an address"),
    "a long name": (OLLAMA + f'name = "{"a" * 65}"', "line 4: name must be a short word"),
    "a name with a slash": (OLLAMA + 'name = "a/b"', "line 4: name must be a short word"),
    "no host": (OLLAMA + 'host_header = "http://a"', "line 4: host_header must be a host name"),
    "tags with blanks": (OLLAMA + 'tags = ["big gpu"]', "line 4: tags: each of them must be a short word"),
    "a tag for a list": (OLLAMA + 'tags = "gpu"', "line 4: tags must be a list of short words"),
    "a tag twice": (OLLAMA + 'tags = ["a", "a"]', "line 4: tags: each tag may stand there once only"),
    "models of an Ollama": (OLLAMA + 'models = ["a"]', 'line 4: models is for kind = "openai"'),
    "models that are numbers": (OPENAI + "models = [1]", "line 4: models must be a list of names of models"),
    "a model with a blank": (OPENAI + 'models = ["a b"]', "line 4: models must be the name of one model"),
    "counts": (OPENAI + 'counts = "exact"', 'line 4: counts must be "estimated"'),
    "capabilities": (OPENAI + 'capabilities = {"*" = ["fly"]}', "line 4: capabilities must be a table such as"),
    "no capabilities": (OPENAI + "[backend.capabilities]", "line 4: capabilities must be a table such as"),
    "a capability behind all": (
        OPENAI + '[backend.capabilities]\n"*" = ["tools"]\na = ["tools"]',
        "line 4: capabilities: what stands behind * would never count",
    ),
    "another table": (OLLAMA + '[backends]\nurl = "x"', "line 4: all there may be is tables called [[backend]]"),
    "a field outside": ('name = "a"\n' + OLLAMA, "line 1: all there may be is tables called [[backend]]"),
    "one table": ('[backend]\nurl = "http://a"', "line 1: backend must be written as [[backend]]"),
    "an unknown escape": ('[[backend]]\nname = "a\nb"', "line 2: "),
    "a field twice": (OLLAMA + 'kind = "openai"', "line 4: "),
    "a name twice": (
        f'{OLLAMA}name = "a"\n\n# the other one\n[[backend]]\nurl = "http://b:1"\nkind = "ollama"\nname = "a"',
        "line 10: name: a is the name of another one (line 1)",
    ),
    "a server twice": (f"{OLLAMA}{OLLAMA}name = 'b'", "line 5: url: this server stands in this file (line 1) already"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str, words: str) -> None:
    """The file, the line, the field, and what is wanted; never what stands there, which may be a key."""
    assert refusal(text).startswith(f"backends.toml, {words}")


NOWHERE: Final[Mapping[str, tuple[str, str]]] = {
    "nothing": ("", "there is no [[backend]] in it"),
    "comments": ("# [[backend]]\n", "there is no [[backend]] in it"),
    "an empty list": ("backend = []", "there is no [[backend]] in it"),
    "its end": ('[[backend]]\nurl = "http://a', ""),
    "no TOML at all": ("[" * 100_000, ""),
    "a table of nothing": ("[backend.capabilities]", "line 1: backend must be written as [[backend]]"),
    "a quoted head": (f'[["backend"]]\nurl = "http://a:1"\nkind = "ollama"\n{OLLAMA}weight = 0', "backend 2: weight"),
    "tables in a line": ('backend = [{url = "http://a:1"}]', "backend 1: kind is missing"),
}


@pytest.mark.parametrize(("text", "words"), NOWHERE.values(), ids=NOWHERE)
def test_what_has_no_line(text: str, words: str) -> None:
    """An end that came too early, an empty file, and tables that are written in another way."""
    assert refusal(text).startswith("backends.toml")
    assert words in refusal(text)


def test_lines_are_those_of_the_statement() -> None:
    """Whatever stands in texts, lists and comments: a value may have many lines, and look like a field."""
    text = """
        # [[backend]]
        [[backend]]   # the "first
        url = 'http://a:1'
        kind = "openai"
        models = [
            "name = x", # ]
            '[[backend]]',
        ]
        tags = ["a",
                "b"]
        host_header = '''
weight = 1
[[backend]]
'''
    """
    assert refusal(text).startswith("backends.toml, line 6: models must be")
    text = text.replace("name = x", "x").replace("[[backend]]',", "y',")
    assert refusal(text).startswith("backends.toml, line 12: host_header must be")
    text = text.replace("'''\nweight = 1\n[[backend]]\n'''", "'h'\n\n weight = '''\n[[backend]]'''")
    assert refusal(text).startswith("backends.toml, line 14: weight must be")


def test_two_servers_of_the_settings_are_not_repeated() -> None:
    """A server that `OLLAMA_BASE_URL` names is one already; the same address of another kind is another one."""
    known = of_settings(["http://a:1"], {}, [OpenAIServer("http://:k@b:1")])
    words = "backends.toml, line 2: url: this server stands in OLLAMA_BASE_URL or OPENAI_BACKENDS already"
    assert refusal(OLLAMA, *known) == words
    assert len(read(OPENAI, *known)) == 1


@given(st.text(alphabet=st.sampled_from(list("[]{}=\"'#.,\n\\ abkcend01-_x:/")) | st.characters(), max_size=120))
def test_whatever_stands_there(text: str) -> None:
    """A file is read or refused, in one line, and nothing else."""
    words = ""
    try:
        read(f"{OLLAMA}{text}")
    except UnusableFile as error:
        words = str(error)
    assert not words or re.fullmatch(r"backends\.toml(, line \d+)?: .{1,400}", words)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """One that is away, a folder, a pipe, too large, or in another encoding."""
    file = tmp_path / "backends.toml"
    with pytest.raises(UnusableFile, match=r"backends\.toml cannot be read: No such file"):
        read_text(str(file))
    with pytest.raises(UnusableFile, match="is no file"):
        read_text(str(tmp_path))
    os.mkfifo(file)
    with pytest.raises(UnusableFile, match="is no file"):
        read_text(str(file))
    file.unlink()
    file.write_text("#" * 262_145)
    with pytest.raises(UnusableFile, match="is larger than 256 KiB"):
        read_text(str(file))
    file.write_bytes(OLLAMA.encode("utf-16"))
    with pytest.raises(UnusableFile, match="is no text in UTF-8"):
        read_text(str(file))
    file.write_bytes(b"\xef\xbb\xbf" + OLLAMA.replace("\n", "\r\n").encode())
    assert len(read(read_text(str(file)))) == 1
    assert read_text("") == ""


def test_settings_name_the_file_and_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be used stops start-up with one line; one that can stands behind the other backends."""
    assert not settings_for().names_backends
    file = tmp_path / "backends.toml"
    file.write_text(f"{OPENAI}weight = 0\n")
    monkeypatch.setenv("BACKENDS_FILE", str(file))
    with pytest.raises(ConfigError, match=r"^BACKENDS_FILE: backends\.toml, line 4: weight must be a number.*$"):
        load_settings(None)
    file.write_text(OPENAI)
    settings = load_settings(None)
    assert settings.names_backends
    assert [each.url for each in settings.named_backends(OPENAI)] == ["http://a:1"]
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://z:1")
    monkeypatch.setenv("OPENAI_BACKENDS", "http://y:1 model=m")
    named = load_settings(None).named_backends(OPENAI)
    assert [(each.url, each.kind, each.source) for each in named] == [
        ("http://z:1", "ollama", "settings"),
        ("http://y:1", "openai", "settings"),
        ("http://a:1", "openai", "file"),
    ]


@pytest.mark.parametrize("name", ["API_KEY", "api_key", "DATABASE_URL", "API_KEYS_FILE", "REDIS_URL"])
def test_the_services_own_secrets_are_not_sent(tmp_path: Path, name: str) -> None:
    """Who may write the file cannot have them sent to a server of his."""
    file = tmp_path / "backends.toml"
    file.write_text(f'{OPENAI}api_key_env = "{name}"\n')
    with pytest.raises(ValueError, match="line 4: api_key_env must not name one of this service's own settings"):
        settings_for(backends_file=str(file))


def test_a_key_may_be_in_the_environment_or_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are looked up when the file is read, in `.env` too, and are not shown with what was read."""
    text = f'{OPENAI}api_key_env = "VLLM_KEY"\n'
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "backends.toml"
    file.write_text(text)
    (tmp_path / ".env").write_text("VLLM_KEY=first-key\n")
    settings: Settings = settings_for(backends_file=str(file))
    (read,) = settings.named_backends(text)
    assert read.key == "first-key"
    assert "first-key" not in repr(read)
    (tmp_path / ".env").write_text("VLLM_KEY=second-key\n")
    assert settings.named_backends(text)[0].key == "second-key"
    monkeypatch.setenv("VLLM_KEY", "third-key")
    assert settings.named_backends(text)[0].key == "third-key"


def fields(**changed: Any) -> BackendSetting:
    """A backend of a file."""
    return BackendSetting(**{"name": "a", "url": "http://a:1", "kind": "openai", "source": "file", **changed})


def test_what_makes_another_connection() -> None:
    """Name, bound, weight and tags do not; all else does."""
    same = fields(name="b", most=3, weight=2.0, tags=("x",))
    assert same.connection == fields().connection
    for other in ({"url": "http://b:1"}, {"key": "k"}, {"host_header": "h"}, {"models": ("m",)}, {"counts": False}):
        assert fields(**other).connection != fields().connection
