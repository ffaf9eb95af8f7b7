"""The settings of traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.setting_traces import headers_in, traces_url


@pytest.mark.parametrize(
    "value", ["collector:4318", "grpc://h:4317", "http://", "http://h:99999", "http://h/?a=b", "x y"]
)
def test_an_address_that_is_none_stops_start_up(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """In one line that names the variable."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", value)
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: must be the address of a collector[^\n]*$"):
        load_settings(None)


@pytest.mark.parametrize("value", ["Bearer hidden", "a=b,hidden", "a b=hidden", "a=hidden%0d%0ax: y", "=hidden"])
def test_headers_that_are_none_stop_start_up_unseen(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The line names the variable, and shows nothing of it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_HEADERS: must be headers") as raised:
        load_settings(None)
    assert "hidden" not in str(raised.value)


def test_headers_are_written_as_the_standard_has_them() -> None:
    """With blanks around them, and percent signs in them."""
    assert headers_in(" Authorization=Bearer%20x%3D , x-team = a=b ,") == {
        "Authorization": "Bearer x=",
        "x-team": "a=b",
    }
    assert headers_in("") == {}


def test_headers_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As other secrets may."""
    (tmp_path / "headers").write_text("authorization=Bearer%20x\n")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS_FILE", str(tmp_path / "headers"))
    assert load_settings(None).otel_exporter_otlp_headers.get_secret_value() == "authorization=Bearer%20x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_TRACES_SAMPLER_ARG", "2"), ("OTEL_SERVICE_NAME", "x" * 256)],
)
def test_values_that_mean_nothing_stop_start_up(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """In one line that names the variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        load_settings(None)


@pytest.mark.parametrize("base", ["http://h:4318", "http://h:4318/"])
def test_spans_go_below_the_address(base: str) -> None:
    """As the standard says of the variable."""
    assert traces_url(base) == "http://h:4318/v1/traces"
