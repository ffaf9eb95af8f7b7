"""Forms with files: one of their fields, read from bytes that are sent on as they are.

Servers differ in what they make of an odd form: where a part begins, where the form ends, what a part is called. So
what no client writes is refused, until all that is left can be read in one way only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from quart import request

from mlops_backend.errors import BadRequest

_MAX_PARTS: Final = 100
_MAX_HEAD: Final = 8192
_CHARSET: Final = r"(?:[ \t]*;[ \t]*charset=(?:\"[\w-]+\"|[\w-]+))?"
# In quotation marks a boundary may have characters that it may not have without (RFC 2046, 5.1.1; RFC 9110, 5.6.6).
_BOUNDARY: Final = r"[ \t]*;[ \t]*boundary=(?:\"([\w'()+,./:=?-]{1,70})\"|([\w'+.-]{1,70}))"
_FORM_TYPE: Final = re.compile(rf"multipart/form-data{_CHARSET}{_BOUNDARY}{_CHARSET}", re.ASCII | re.IGNORECASE)
_HEADER: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([!-~\x80-\xff][\t -~\x80-\xff]*|)")
# Where a text ends is no question: no backslash stands before a quotation mark. .NET says a file's name twice.
_FILE_NAME: Final = rb"filename=(?:\"(?![^\"]*name\*?=)(?:[^\"]*[^\"\\])?\"|[\w.+-]+)"
_DISPOSITION: Final = re.compile(
    rb"form-data; ?name=(?:\"([^\"\\;=]*)\"|([\w.+-]+))"
    rb"(; ?" + _FILE_NAME + rb"(?:; ?filename\*=utf-8''[\w.~%!$&+^`|-]+)?)?",
    re.IGNORECASE,
)
# Go decodes quoted-printable, others base64 as well, and some what a part's own type says.
_PLAIN: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b"content-transfer-encoding": re.compile(rb"7bit|8bit|binary", re.IGNORECASE),
    b"content-type": re.compile(
        rb"text/plain(?:; ?charset=(?:utf-8|us-ascii|iso-8859-1|\"utf-8\"|\"us-ascii\"))?", re.IGNORECASE
    ),
}
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


class Field(NamedTuple):
    """A field's text, and from where to where it stands in the form."""

    value: str
    at: tuple[int, int]


class _Part(NamedTuple):
    name: bytes
    is_file: bool
    headers: Mapping[bytes, bytes]
    data: bytes
    at: tuple[int, int]


def single_field(form: bytes, name: str) -> Field | None:
    """The field `name`; `None` when there is none, or no form.

    Raises:
        BadRequest: it stands there twice, as a file or encoded, so that two servers could read two things; the form is
            not written as clients write forms.
    """
    types = request.headers.getlist("Content-Type")
    if not form or not any("multipart" in kind.lower() for kind in types):
        return None
    try:
        values = [Field(_value(part), part.at) for part in _parts(form, types) if part.name == name.encode()]
    except ValueError:
        raise BadRequest("The form cannot be read.") from None
    if len(values) > 1:
        raise BadRequest(f'The form has the field "{name}" more than once.')
    return values[0] if values else None


def _parts(form: bytes, types: list[str]) -> Iterator[_Part]:
    """The form's parts; the boundary stands at its beginning and at that of a line, and nowhere in the data."""
    if len(types) != 1 or not (declared := _FORM_TYPE.fullmatch(types[0])):
        raise ValueError("type")
    boundary: str = declared[1] or declared[2]
    border = f"--{boundary}".encode()
    preamble, *parts, end = form.split(border, _MAX_PARTS + 2)
    if preamble or len(parts) > _MAX_PARTS or not end.startswith(b"--") or end[2:].strip(b" \t\r\n"):
        raise ValueError("boundaries")
    at = len(border)
    for part in parts:
        start, stop = at + part.find(b"\r\n\r\n") + 4, at + len(part) - 2
        at += len(part) + len(border)
        head, blank, data = part.partition(b"\r\n\r\n")
        if not blank or len(head) > _MAX_HEAD or not head.startswith(b"\r\n") or not data.endswith(b"\r\n"):
            raise ValueError("part")
        headers = _headers(head[2:])
        disposition = _DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
        if disposition is None:
            raise ValueError("disposition")
        yield _Part(disposition[2] or disposition[1], bool(disposition[3]), headers, data[:-2], (start, stop))


def _headers(head: bytes) -> Mapping[bytes, bytes]:
    lines = [_HEADER.fullmatch(line) for line in head.split(b"\r\n")]
    headers = {line[1].lower(): line[2] for line in lines if line}
    if len(headers) < len(lines):
        raise ValueError("headers")
    return headers


def _value(part: _Part) -> str:
    """A field's text, which nobody decodes."""
    plain = all(kind.fullmatch(part.headers[header]) for header, kind in _PLAIN.items() if header in part.headers)
    if part.is_file or not plain or _CONTROL.search(part.data):
        raise ValueError("field")
    return part.data.decode("utf-8", "replace")
