"""Forms with files: one of their fields, read from bytes that are sent on as they are."""

from __future__ import annotations

from typing import Final

from quart import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from mlops_backend.errors import BadRequest

_MAX_PARTS: Final = 100
# Go decodes quoted-printable, others base64 as well: what is read here must be what they read.
_ENCODING: Final = "Content-Transfer-Encoding"
_PLAIN: Final = frozenset({"7bit", "8bit", "binary"})


def single_field(form: bytes, name: str) -> str:
    """The value of the field `name`; empty when there is none, or no form.

    Raises:
        BadRequest: it stands there twice, as a file or encoded, so that two servers could read two things; the form is
            broken.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        return ""
    try:
        values = _values(form, boundary, name)
    except (ValueError, RequestEntityTooLarge):
        raise BadRequest("The form cannot be read.") from None
    if len(values) > 1:
        raise BadRequest(f'The form has the field "{name}" more than once.')
    return values[0] if values else ""


def _values(form: bytes, boundary: str, name: str) -> list[str]:
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), len(form), max_parts=_MAX_PARTS)
    decoder.receive_data(form)
    decoder.receive_data(None)
    values: list[bytes] = []
    wanted = False
    while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
        if isinstance(event, Field | File):
            wanted = event.name == name
            if wanted and (isinstance(event, File) or event.headers.get(_ENCODING, "binary").lower() not in _PLAIN):
                raise ValueError(name)
            values += [b""] if wanted else []
        elif isinstance(event, Data) and wanted:
            values[-1] += event.data
    return [value.decode("utf-8", "replace") for value in values]
