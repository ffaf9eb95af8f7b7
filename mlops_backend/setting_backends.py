"""The file of backends (`BACKENDS_FILE`): TOML with a table for each, read whole or not at all."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from mlops_backend.setting_backend_fields import Kind, Secret, read_field
from mlops_backend.setting_lines import Lines, lines_of
from mlops_backend.setting_servers import OpenAIServer

Source = Literal["settings", "file"]

_ARRAY: Final = "backend"
_LARGEST: Final = 256 * 1024
_LONGEST: Final = 200
_SYNTAX: Final = re.compile(r"(?s)(.*) \(at line (\d+), column (\d+)\)")
_NAME: Final = re.compile(r"[\w-]{1,64}")
_NEEDED: Final = ("url", "kind")
_OF_OPENAI: Final = ("models", "capabilities", "counts")


class UnusableFile(ValueError):
    """The file of backends cannot be used; the message says why, and in which line."""


@dataclass(frozen=True, slots=True)
class BackendSetting:
    """What an operator says of one backend.

    Attributes:
        name: what it is called; empty: by its address.
        url: its address; of the settings, there may be credentials in it.
        kind: the protocol that it speaks.
        key: travels to it as a bearer's token.
        host_header: the `Host` that it wants to be called by.
        most: generations that it takes at once; `None`: as many as come.
        weight: how much it takes, beside others.
        models: names of models that it has and may not list itself.
        capabilities: patterns of models and what they can do, in Ollama's words.
        counts: whether the tokens that it tells are to be believed.
        tags: words for whoever looks after it.
        source: where it is named.
    """

    name: str
    url: str = field(repr=False)
    kind: Kind
    key: str = field(default="", repr=False)
    host_header: str = ""
    most: int | None = None
    weight: float = 1.0
    models: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, frozenset[str]], ...] = ()
    counts: bool = True
    tags: tuple[str, ...] = ()
    source: Source = "settings"

    @property
    def connection(self) -> BackendSetting:
        """What of it decides how it is asked: two of which this is equal can be one for another."""
        return replace(self, name="", most=None, weight=1.0, tags=(), source="settings")

    @property
    def place(self) -> tuple[str, str, str]:
        """What no two backends have in common."""
        return self.kind, self.url, self.key


def of_settings(
    ollamas: Iterable[str], hosts: Mapping[str, str], servers: Iterable[OpenAIServer]
) -> tuple[BackendSetting, ...]:
    """The backends of `OLLAMA_BASE_URL` and `OPENAI_BACKENDS`."""
    asked = [BackendSetting("", url, "ollama", host_header=hosts.get(url, "")) for url in ollamas]
    return (
        *asked,
        *(BackendSetting("", each.url, "openai", models=each.models, counts=each.counts) for each in servers),
    )


def read_text(path: str) -> str:
    """What the file holds; nothing where none is named.

    Raises:
        UnusableFile: it is not there, is no file or no text, or is larger than `_LARGEST`.
    """
    if not path:
        return ""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnusableFile(f"{path} is no file")
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise UnusableFile(f"{path} is larger than {_LARGEST // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except ValueError:
        raise UnusableFile(f"{path} is no text in UTF-8") from None


def read_backends(text: str, path: str, known: Sequence[BackendSetting], secret: Secret) -> tuple[BackendSetting, ...]:
    """The backends of a file.

    Args:
        text: what it holds.
        path: where it is, for errors.
        known: those that are named elsewhere.
        secret: gives the keys.

    Raises:
        UnusableFile: names file, line and field.
    """
    return _File(Path(path).name, text).backends(known, secret)


class _File:
    def __init__(self, name: str, text: str) -> None:
        self._name = name
        try:
            self._read = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._wrong_syntax(str(error), text) from None
        except (RecursionError, ValueError):  # a date that no calendar has is a plain ValueError
            raise UnusableFile(f"{name}: it is no TOML that can be read") from None
        self._lines: Lines = lines_of(text, _ARRAY)

    def backends(self, known: Sequence[BackendSetting], secret: Secret) -> tuple[BackendSetting, ...]:
        """All of them."""
        tables = self._read.get(_ARRAY)
        for name in self._read:
            if name != _ARRAY:
                raise self._wrong(self._lines.top.get(name, 0), f"all there may be is tables called [[{_ARRAY}]]")
        if not tables:
            raise UnusableFile(f"{self._name}: there is no [[{_ARRAY}]] in it")
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._wrong(self._lines.top.get(_ARRAY, 0), f"{_ARRAY} must be written as [[{_ARRAY}]]")
        if len(self._lines.tables) != len(tables):
            self._lines.tables.clear()  # they are written in another way: no line is better than a wrong one
        found = [self._backend(index, table, secret) for index, table in enumerate(tables)]
        self._check_that_each_is_one(found, known)
        return tuple(found)

    def _backend(self, index: int, table: Mapping[str, Any], secret: Secret) -> BackendSetting:
        values: dict[str, Any] = {}
        for name, value in table.items():
            try:
                values |= read_field(name, value, secret)
            except ValueError as error:
                raise self._wrong_field(index, name, str(error)) from None
        for name in _NEEDED:
            if name not in table:
                raise self._wrong_field(index, name, "is missing")
        for name in _OF_OPENAI if values["kind"] == "ollama" else ():
            if name in table:
                raise self._wrong_field(index, name, 'is for kind = "openai": an Ollama tells it itself')
        return BackendSetting(**{"name": "", **values}, source="file")

    def _check_that_each_is_one(self, found: Sequence[BackendSetting], known: Sequence[BackendSetting]) -> None:
        places = {each.place: "in OLLAMA_BASE_URL or OPENAI_BACKENDS" for each in known}
        names: dict[str, str] = {}
        for index, each in enumerate(found):
            line = self._lines.of(index)
            if each.name and each.name in names:
                raise self._wrong_field(index, "name", f"{each.name} is the name of another one{names[each.name]}")
            if each.place in places:
                raise self._wrong_field(index, "url", f"this server stands {places[each.place]} already")
            where = f" (line {line})" if line else ""
            names[each.name], places[each.place] = where, f"in this file{where}"

    def _wrong_field(self, index: int, name: str, words: str) -> UnusableFile:
        line = self._lines.of(index, name)
        mark = " " if words.startswith(("must ", "is ")) else ": "
        where = "" if line else f"backend {index + 1}: "
        shown = name if _NAME.fullmatch(name) else "a field"
        return self._wrong(line, f"{where}{shown}{mark}{words}")

    def _wrong(self, line: int, words: str) -> UnusableFile:
        return UnusableFile(f"{self._name}, line {line}: {words}" if line else f"{self._name}: {words}")

    def _wrong_syntax(self, words: str, text: str) -> UnusableFile:
        if match := _SYNTAX.fullmatch(words):
            return self._wrong(int(match[2]), f"{match[1][:_LONGEST]} (column {match[3]})")
        return self._wrong(text.rstrip().count("\n") + 1, words[:_LONGEST])
