"""The settings of traces, by the names that OpenTelemetry's own libraries have for them."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PATH: Final = "v1/traces"


def endpoint(value: str) -> str:
    """A collector's address, or nothing.

    Raises:
        ValueError: it is something else.
    """
    if not value:
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value or parts.query or parts.fragment:
        raise ValueError("must be the address of a collector that takes OTLP over HTTP, as http://localhost:4318")
    return value


def traces_url(base: str) -> str:
    """Where a collector takes spans."""
    return f"{base.rstrip('/')}/{_PATH}"


def headers_in(text: str) -> dict[str, str]:
    """The headers of `name=value,name=value`, in which `%20` is a blank.

    Raises:
        ValueError: it is something else; the message shows nothing of it.
    """
    found = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, equals, value = item.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not equals or not _NAME.fullmatch(name) or not (value.isprintable() and value.isascii()):
            raise ValueError("must be headers as name=value, separated by commas, %20 for a blank")
        found[name] = value
    return found


def _checked(value: SecretStr) -> SecretStr:
    headers_in(value.get_secret_value())
    return value


class TraceSettings(BaseModel):
    """A part of `Settings`."""

    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(endpoint)] = ""
    otel_exporter_otlp_headers: Annotated[SecretStr, AfterValidator(_checked)] = SecretStr("")
    otel_service_name: str = Field(default="mlops_backend", max_length=255)
    otel_traces_sampler: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = "parentbased_always_on"
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    otel_capture_content: bool = False
