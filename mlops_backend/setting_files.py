"""Files that settings come from: `.env`, and secrets in files of their own.

`NAME_FILE` names a file that holds what `NAME` would say, as Docker and Kubernetes mount them.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# Settings that are secret, or may have a password in them; of the lists among them a line of the file is an item.
LISTS: Final = ("API_KEYS", "OLLAMA_BASE_URL", "OPENAI_BACKENDS")
SECRETS: Final = (
    *("API_KEY", "DATABASE_URL", "REDIS_URL", "END_USER_SECRET", "OTEL_EXPORTER_OTLP_HEADERS"),
    *LISTS,
)
SUFFIX: Final = "_FILE"
_LARGEST: Final = 1_048_576
_UTF16: Final = "it is UTF-16, as a redirect in Windows PowerShell writes it"
_NOT_UTF8: Final = "it is not UTF-8"


def read_secrets(environment: Mapping[str, str | None]) -> dict[str, str]:
    """What the named files hold, by the settings' names in small letters.

    Args:
        environment: variables with their names in capitals; those that are not set may be there without a value.

    Raises:
        ValueError: a file cannot be used, or its setting is there as well.
    """
    return {name.lower(): _read(name, environment) for name in SECRETS if environment.get(f"{name}{SUFFIX}")}


def _read(name: str, environment: Mapping[str, str | None]) -> str:
    path = environment[f"{name}{SUFFIX}"] or ""
    if environment.get(name):
        raise ValueError(f"{name}{SUFFIX}: {name} is set as well; which of them is meant?")
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{name}{SUFFIX}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{name}{SUFFIX}: {path} is no text in UTF-8") from None
    if len(content) > _LARGEST:
        raise ValueError(f"{name}{SUFFIX}: {path} is larger than a secret can be")
    text = text.rstrip("\r\n")
    if not text.strip(" ,\r\n"):
        raise ValueError(f"{name}{SUFFIX}: {path} is empty")
    return ",".join(text.splitlines()) if name in LISTS else text


def written_file(path: str) -> str:
    """A file that is made where it is not there; its folder is not.

    Raises:
        ValueError: it is no file, or has no folder.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("must be a file")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError("its folder is not there")
    return path


def check_encoding(env_file: str | None) -> None:
    """Refuse a file that would be misread, or end start-up with a stack trace; one that is not there is no fault.

    UTF-16 without a mark is valid UTF-8 full of zero bytes: none of its names would be found.

    Raises:
        ValueError: it is not UTF-8, or cannot be read.
    """
    if env_file is None or not os.path.isfile(env_file):
        return
    try:
        content = Path(env_file).read_bytes()
        content.decode()
    except UnicodeDecodeError:
        fault = _NOT_UTF8
    except OSError as error:
        raise ValueError(f"{env_file}: it cannot be read: {error.strerror}") from None
    else:
        fault = ""
    if b"\0" in content or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        fault = _UTF16
    if fault:
        raise ValueError(f"{env_file}: {fault}; save it as UTF-8")
