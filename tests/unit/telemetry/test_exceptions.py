"""What the log tells of an exception: where and of what kind, nothing of a request."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import h11
import pytest
from pydantic_core import from_json

from mlops_backend.errors import BackendFailed
from mlops_backend.telemetry.exceptions import log_of_loop, log_unhandled, named, told
from mlops_backend.telemetry.logging import configure_logging
from tests.service import settings_for

MARK = "marked-by-the-tests"


def raised(make: Callable[[], object]) -> BaseException:
    """What a call raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any kind
        make()
    return caught.value


def parse_http() -> object:
    """Give h11 what is no request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(f"GET / HTTP/1.1\r\n{MARK} nonsense\r\n\r\n".encode())
    return connection.next_event()


QUOTING: dict[str, Callable[[], object]] = {
    "h11": parse_http,
    "a number": lambda: int(MARK),
    "a member": lambda: dict[str, str]()[MARK],
    "UTF-8": lambda: (MARK.encode() + b"\xff").decode(),
    "JSON": lambda: from_json(f'{{"{MARK}": {MARK}}}'),
    "Python's JSON": lambda: json.loads(f'"{MARK}'),
    "another's": lambda: (_ for _ in ()).throw(Exception(MARK)),
}


@pytest.mark.parametrize("make", QUOTING.values(), ids=QUOTING)
def test_what_was_read_is_not_told(make: Callable[[], object]) -> None:
    """A parser's message may quote its input: only its kind is told, and the way to it."""
    error = raised(make)
    text = told(error)
    assert MARK not in text
    assert type(error).__qualname__ in text
    assert "test_exceptions.py" in text


def test_what_the_program_and_the_system_say_is_told() -> None:
    """An operator needs to know that a file cannot be read, and which error of ours it was."""
    assert named(FileNotFoundError(2, "No such file", "/x")) == "FileNotFoundError: [Errno 2] No such file: '/x'"
    assert named(BackendFailed("It failed.")) == "mlops_backend.errors.of_service.BackendFailed: It failed."
    assert named(TypeError("f() takes 1 argument")) == "TypeError: f() takes 1 argument"


def test_what_is_behind_an_exception_is_told_too() -> None:
    """Causes, and the parts of a group; each once, however they hold each other."""
    first, second = ValueError(MARK), OSError(5, "Input/output error")
    first.__cause__, second.__cause__ = second, first
    group = ExceptionGroup(MARK, [first, RuntimeError("the other")])
    text = told(group)
    assert text.count("ValueError") == 1
    assert text.count("Input/output error") == 1
    assert "the other" in text
    assert MARK not in text


async def test_a_callback_that_fails_shows_no_argument(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio would write a callback's arguments, which may be bytes of a connection."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_of_loop)
    loop.call_soon(int, MARK)

    async def fail() -> None:
        raise ValueError(MARK)

    task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert {entry.message for entry in caplog.records} == {
        "Exception in callback",
        "Task exception was never retrieved",
    }


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_of_it_comes_to_the_log(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """In either format, from either kind of logger, at the lowest level, and of a thread that dies."""
    configure_logging(settings_for(log_format=log_format, log_level="DEBUG"))
    try:
        int(MARK)
    except ValueError:
        logging.getLogger("hypercorn.error").exception("Error in ASGI Framework")
    logging.getLogger("aiosqlite").debug("executing %s", MARK)
    thread = threading.Thread(target=int, args=(MARK,))
    thread.start()
    thread.join()
    shown: Any = capsys.readouterr()
    assert "Error in ASGI Framework" in shown.out
    assert "a thread has failed" in shown.out
    assert MARK not in shown.out + shown.err


def test_warnings_go_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not to standard error, where nobody looks for a line of JSON."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    captured: list[bool] = []
    monkeypatch.setattr(logging, "captureWarnings", captured.append)
    log_unhandled()
    assert captured == [True]
