"""A secret is in no line of the log, wherever in an event it stood."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from mlops_backend.services.other.keys.secrets import new_secret
from mlops_backend.setting_backends import BackendSetting
from mlops_backend.telemetry import redaction
from mlops_backend.telemetry.log_writer import StreamSink
from mlops_backend.telemetry.logging import _output, configure_logging, log_request, say
from mlops_backend.telemetry.record import RequestRecord
from mlops_backend.telemetry.redaction import know, learn, redact, secrets_of
from tests.settings import settings_for

# As `usable_key` takes them: all that is printed, but blanks and commas.
KEYS = some.text(some.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=8, max_size=60)
WORDS = some.text(max_size=6)
TOKENS = some.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=16, max_size=43)
LOOKS = (
    TOKENS.map(lambda token: (f"mlb_{token}", f"mlb_{token}")),
    TOKENS.map(lambda token: (f"sk-{token}", f"sk-{token}")),
    TOKENS.map(lambda token: (token, f"Authorization: Bearer {token}")),
    TOKENS.map(lambda token: (token, f"redis://user:{token}@host/0")),
    TOKENS.map(lambda token: (token, f"password={token}")),
    TOKENS.map(lambda token: (token, f'{{"api_key": "{token}"}}')),
)


@dataclass(frozen=True)
class Strange:
    """What JSON does not know, and shows what it holds."""

    held: str


class Unshowable:
    """What cannot be shown at all."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def places(told: str) -> some.SearchStrategy[Any]:
    """A value that has `told` in it, somewhere."""
    text = some.tuples(WORDS, WORDS).map(lambda around: f"{around[0]} {told} {around[1]}")
    leaves = some.one_of(
        text,
        text.map(lambda each: each.encode("utf-8", "replace")),
        text.map(Strange),
        text.map(ValueError),
    )
    return some.recursive(
        leaves,
        lambda inner: some.one_of(
            some.lists(inner, min_size=1, max_size=3),
            some.tuples(inner, some.integers()),
            some.dictionaries(WORDS, inner, min_size=1, max_size=3),
            some.just({f"a {told} b": 1}),
            some.frozensets(text, min_size=1, max_size=2),
        ),
        max_leaves=6,
    )


@pytest.fixture(scope="module", params=["json", "console"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is written, in one of the formats."""
    configure_logging(settings_for(log_format=request.param, log_level="DEBUG"))
    stream = io.StringIO()
    _output.replace(StreamSink(stream))
    yield stream
    configure_logging(settings_for())


def lines_of(written: io.StringIO, value: Any, told: str) -> str:
    """Log a value in every way there is; what was written."""
    written.seek(0)
    written.truncate()
    log = structlog.get_logger()
    log.warning(f"of {told} it is said", value=value)
    logging.getLogger("a.library").error("it is %s", value)
    try:
        try:
            raise RuntimeError(f"first {told}")
        except RuntimeError as error:
            raise OSError(5, f"then {told}") from error
    except OSError as error:
        log.exception("it failed", value=value)
        log.error("it failed", error=error)
        logging.getLogger("a.library").exception("it failed: %s", told)
    record = RequestRecord("an-id", "POST", status=502)
    record.name_model(told)
    record.requested_model = record.end_user = told
    record.fail("backend_failed", f"the backend says {told} and more")
    log_request({**record.fields(0.0), "request_id": told})
    say(f"for people: {told}")
    return written.getvalue()


def is_shown(secret: str, lines: str) -> bool:
    """Whether a secret can be read there, in any way that it is written in."""
    return any(form in lines for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]))


@settings(deadline=None, derandomize=True, database=None)
@given(data=some.data(), secret=KEYS)
def test_a_key_of_the_settings_is_never_written(written: io.StringIO, data: some.DataObject, secret: str) -> None:
    """Of any characters that a key may have, in any value, a nested one, an exception, its cause, a library's words."""
    know([])
    assume(not is_shown(secret, lines_of(written, "nothing", "nothing") + redaction.MASK))
    value = data.draw(places(secret))
    know([secret])
    lines = lines_of(written, value, secret)
    assert not is_shown(secret, lines)
    assert lines.count("\n") >= 7


@settings(deadline=None, derandomize=True, database=None)
@given(data=some.data(), secret_and_told=some.one_of(*LOOKS))
def test_what_looks_like_a_secret_is_never_written(
    written: io.StringIO, data: some.DataObject, secret_and_told: tuple[str, str]
) -> None:
    """Keys of the database, of other services, bearer's tokens, passwords in addresses: nobody has to know them."""
    secret, told = secret_and_told
    know([])
    value = data.draw(places(told))
    assert not is_shown(secret, lines_of(written, value, told))


@settings(deadline=None, derandomize=True, database=None)
@given(secret=TOKENS, name=some.sampled_from(["password", "api_key", "Authorization", "X-API-Key", "Set-Cookie"]))
def test_what_is_named_for_a_secret_is_one(written: io.StringIO, secret: str, name: str) -> None:
    """Whatever it looks like."""
    know([])
    written.seek(0)
    written.truncate()
    structlog.get_logger().warning("it came", **{name: secret}, headers={name: [secret]})
    assert secret not in written.getvalue()
    assert written.getvalue().count("***") == 2


def test_what_is_no_secret_is_written_as_it_is() -> None:
    """Models, addresses, numbers and sentences of every day, and what is of no kind that can hold text."""
    know(["a-key-of-ours"])
    event = {
        "event": "backends_read",
        "model": "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        "url": "http://127.0.0.1:11434/api/generate?x=1@2",
        "reason": "risk-free desk-work: 1200 tokens: password",
        "counts": [1, 2.5, None, True],
        "nested": {"task-runner": {"a": "basics"}},
    }
    assert redaction.redact_event(None, "info", {**event}) == event


def test_secrets_of_the_settings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, and passwords in the addresses of databases and backends, as they are written and as they are meant."""
    chosen = settings_for(
        "http://user:ollama-password@a",
        api_key="first-secret",
        api_keys="tester:second-secret",
        database_url="postgresql://user:third%2Fsecret@host/x",
        redis_url="redis://:fourth-secret@host/0",
        openai_backends="http://fifth-secret@host:8000 model=mine",
    )
    know(secrets_of(chosen))
    for secret in (
        *("ollama-password", "first-secret", "second-secret", "third%2Fsecret", "third/secret"),
        *("fourth-secret", "fifth-secret"),
    ):
        assert redact(f"it is {secret}.") == "it is ***."
    learn(["sixth-secret"])
    assert redact("sixth-secret first-secret user") == "*** *** user"
    assert quote("third/secret", safe="") == "third%2Fsecret"


def test_keys_of_backends_in_a_file_are_known() -> None:
    """From the moment that they are read."""
    from mlops_backend.services.llm.backends.builder import BackendBuilder

    know([])
    made: Mapping[str, Any] = {"name": "a", "url": "http://127.0.0.1:9", "kind": "ollama"}
    BackendBuilder(None).build([BackendSetting(**made, key="key-of-a-backend")])  # type: ignore[arg-type]
    assert redact("key-of-a-backend") == "***"


def test_no_half_of_a_secret_is_left_where_a_text_is_cut() -> None:
    """It is taken out before a message is cut, and of a very long text a word that is cut goes whole."""
    know(["a-secret-that-is-known"])
    for length in range(65_520, 65_540):
        assert "a-s" not in redact("x" * (length - 1) + " a-secret-that-is-known")
    record = RequestRecord("id", "POST")
    for length in range(150, 205):
        record.fail("backend_failed", "x" * length + "a-secret-that-is-known")
        assert "a-s" not in record.said


def test_a_line_costs_no_more_than_its_length() -> None:
    """A megabyte of what begins like a secret, and never is one, is done within a second."""
    know([])
    for piece in ("bearer ", "bearer" + " " * 50, "://a", "sk-", "eyJ", "token = ", 'password"', "mlb", "eyJaaaaaaaa."):
        before = perf_counter()
        redact(piece * (1_000_000 // len(piece)))
        assert perf_counter() - before < 1


def test_deep_and_odd_values_are_written_too() -> None:
    """What is nested without end, and what cannot be shown, is no reason to lose a line."""
    know([])
    deep: list[Any] = ["mlb_secret"]
    deep.append(deep)
    written = redaction.redact_event(None, "info", {"deep": deep, "odd": Unshowable(), "many": list(range(10_000))})
    assert "mlb_secret" not in str(written)
    assert "Unshowable" in written["odd"]
    assert len(written["many"]) == 200


def test_a_new_secret_of_ours_looks_like_one() -> None:
    """Whatever random bits it is made of."""
    know([])
    for _ in range(200):
        secret = new_secret()
        assert redact(f'"{secret}"') == '"***"'
