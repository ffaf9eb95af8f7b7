"""Errors become answers here: JSON on one line, never HTML, never a stack trace."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError
from quart import Quart, Response, request
from quart_schema import RequestSchemaValidationError
from quart_schema.validation import QuerystringValidationError
from werkzeug.exceptions import HTTPException, InternalServerError

from mlops_backend.errors import AppError, InvalidBody
from mlops_backend.middleware.request_context import record
from mlops_backend.services.llm.dialects import dialect_of, dumped, error_object
from mlops_backend.services.llm.generation import outcome_of

_KEPT_HEADERS: Final = frozenset({"allow", "retry-after", "www-authenticate", "location"})
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
}
_SENTENCES: Final = {
    404: "There is no such route.",
    405: "The route does not take this method.",
    408: "The request body took too long to arrive.",
    413: "The request body is larger than MAX_BODY_BYTES allows.",
    500: "Something went wrong inside the service; the operator finds it in the log under this request_id.",
}
_MAX_DETAILS: Final = 50


def register_error_handlers(app: Quart) -> None:
    """Answer every error of `app` in our own shape."""
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(RequestSchemaValidationError, _schema_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(500, _internal_error)


async def _app_error(error: AppError) -> Response:
    noted = record()
    noted.outcome = noted.outcome or outcome_of(error)
    noted.error = error.code
    details = error.details if isinstance(error, InvalidBody) else None
    return _response(error.status, error.code, error.message, error.headers, details)


async def _schema_error(error: RequestSchemaValidationError) -> Response:
    what = "query" if isinstance(error, QuerystringValidationError) else "body"
    return await _app_error(InvalidBody(f"The {what} does not fit the schema.", _details(error.validation_error)))


async def _http_error(error: HTTPException) -> Response:
    _let_go(error)
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name.lower() in _KEPT_HEADERS}
    code = _CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_"))
    record().error = code
    return _response(status, code, _SENTENCES.get(status, HTTPStatus(status).phrase + "."), headers)


def _let_go(error: HTTPException) -> None:
    """Drop what has come of a body that nobody will read.

    Quart's body keeps the error that it raises, whose traceback keeps the body: a circle that only the garbage
    collector would find, much later.
    """
    request.body.clear()
    error.with_traceback(None)


async def _internal_error(error: InternalServerError) -> Response:
    record().error = "internal_error"
    return _response(500, "internal_error", _SENTENCES[500], {})


def _response(status: int, code: str, message: str, headers: dict[str, str], details: Any = None) -> Response:
    """In the words of the route's family: clients of OpenAI and Anthropic read only their own."""
    answer = error_object(dialect_of(request.path), status, code, message, record().id, details)
    return Response(dumped(answer), status=status, headers=headers, content_type="application/json")


def _details(error: Exception) -> list[dict[str, Any]]:
    if not isinstance(error, ValidationError):
        return [{"loc": [], "msg": "The body must be a JSON object.", "type": "type_error"}]
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]} for item in found[:_MAX_DETAILS]]
