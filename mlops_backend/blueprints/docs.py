"""The documentation page: Swagger UI from our own origin, asking no other host for anything."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

from quart import Blueprint, Response, request, send_file
from quart_schema import hide

from mlops_backend.errors import NotFound

blueprint = Blueprint("docs", __name__, url_prefix="/docs")

_CACHE_SECONDS: Final = 86_400
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mlops_backend API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""
# validatorUrl null: the default sends the document's address to an outside host. All addresses are relative, that of
# the server in the document too: a proxy may show the service under a path that nobody has told it.
_START: Final = """\
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null
});
"""


@blueprint.get("")
@hide
async def show_page() -> Response:
    """The page."""
    return Response(_PAGE, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY})


@blueprint.get("/assets/<path:filename>")
@hide
async def send_asset(filename: str) -> Response:
    """A file of Swagger UI, from the installed package."""
    if filename == "start.js":
        return Response(_START, content_type="text/javascript; charset=utf-8")
    if filename not in _asset_names():
        raise NotFound("There is no such file.")
    asset = _asset(filename)
    response = await send_file(
        BytesIO(asset.content),
        attachment_filename=filename,
        cache_timeout=_CACHE_SECONDS,
        last_modified=asset.modified,
    )
    response.set_etag(asset.etag)
    await response.make_conditional(request, accept_ranges=True, complete_length=len(asset.content))
    return response


class _Asset(NamedTuple):
    content: bytes
    modified: datetime
    etag: str


@cache
def _asset(name: str) -> _Asset:
    """One of the few files, kept: Quart leaves a file open when the client goes while it is being sent."""
    path = _assets() / name
    content = path.read_bytes()
    return _Asset(content, datetime.fromtimestamp(path.stat().st_mtime, UTC), sha256(content).hexdigest())


@cache
def _asset_names() -> frozenset[str]:
    return frozenset(path.name for path in _assets().iterdir() if path.is_file())


@cache
def _assets() -> Path:
    spec = find_spec("flask_swagger_ui")
    locations = spec.submodule_search_locations if spec is not None else None
    assert locations  # noqa: S101 - a locked dependency
    return Path(locations[0]) / "dist"
