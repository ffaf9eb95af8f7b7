"""The console's page and its files: from our own origin, asking no other host for anything."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Final

from quart import Blueprint, Response, current_app, redirect, request
from quart.typing import ResponseReturnValue
from quart_schema import hide

from mlops_backend.errors import NotFound
from mlops_backend.middleware.console_session import COOKIE
from mlops_backend.middleware.request_context import service
from mlops_backend.services.other.console import File, Files
from mlops_backend.services.other.info import InfoService

blueprint = Blueprint("console", __name__, url_prefix="/console")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A file's address names the build: another build has another address.
_FOREVER: Final = "public, max-age=31536000, immutable"


@blueprint.get("")
@hide
async def lead_to_page() -> ResponseReturnValue:
    """The page stands behind a slash, for its files are named from there."""
    return redirect("console/", 308)  # from where the browser is, whatever a proxy calls that


@blueprint.get("/")
@hide
async def show_page() -> Response:
    """The page; a browser complains of each 401, so one without a cookie is told not to ask who has signed in."""
    files = await _files()
    has_to_ask = COOKIE in request.cookies or not service(InfoService).features["auth"]
    answer = _sent(files.index if has_to_ask else files.door, "no-cache")
    answer.vary.add("Cookie")
    return answer


@blueprint.get("/assets/<build>/<path:filename>")
@hide
async def send_file(build: str, filename: str) -> Response:
    """A file of the build that is served; another one's would not fit the page."""
    files = await _files()
    if build != files.build or (file := files.find(filename)) is None:
        raise NotFound("There is no such file.")
    return _sent(file, "no-cache" if current_app.debug else _FOREVER)


def _sent(file: File, cache_control: str) -> Response:
    headers = {**_HEADERS, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if file.zipped is not None and "gzip" in request.headers.get("Accept-Encoding", "").lower():
        return Response(file.zipped, content_type=file.content_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, content_type=file.content_type, headers=headers)


async def _files() -> Files:
    """Read beside the event loop; again for each request while somebody works on them."""
    return await asyncio.to_thread(Files if current_app.debug else _kept)


@cache
def _kept() -> Files:
    return Files()
