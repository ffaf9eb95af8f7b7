"""Routes that the operator lists in `PASSTHROUGH_ROUTES`: Ollama grows faster than this service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from quart import Blueprint, Response, request
from quart_schema import hide

from mlops_backend.aside import aside
from mlops_backend.middleware.drop_in import answer, body, check_large, client_headers
from mlops_backend.middleware.form_fields import single_field
from mlops_backend.services.llm.asked import Asked, Task, passed_through, read_asked


def passthrough(routes: Sequence[tuple[str, str]]) -> Blueprint:
    """A blueprint of (method, path) pairs, each relayed as it stands, its query included."""
    blueprint = Blueprint("passthrough", __name__)
    for number, (method, path) in enumerate(routes):
        blueprint.add_url_rule(path, f"route_{number}", _view(path), methods=[method])
    return blueprint


def _view(path: str) -> Callable[[], Awaitable[Response]]:
    task = passed_through(path)

    @hide
    async def relay_route() -> Response:
        """Relay what the operator lets through."""
        # Some take what is behind a # for no part of the query any more.
        query = request.query_string.decode("ascii", "replace").replace("#", "%23")
        content, target = await body(), f"{path}?{query}" if query else path
        await check_large(content)
        return await answer(await aside(len(content), _asked, task, target, query, content))

    return relay_route


def _asked(task: Task, path: str, query: str, content: bytes) -> Asked:
    """The request at hand, with the models that it names outside of JSON: in its query, or in a form."""
    asked = read_asked(task, request.method, path, client_headers(), content)
    fields = [single_field(content, name) for name in task.names]
    named = [*_of_pairs(query, task.names), *(field.value for field in fields if field is not None)]
    if any("urlencoded" in kind.lower() for kind in request.headers.getlist("Content-Type")):
        named += _of_pairs(content.decode("latin-1"), task.names)
    models = (*asked.models, *filter(None, named))
    kept = asked.content if content.lstrip().startswith(b"{") else content or None  # only JSON is cut at its end
    return replace(asked, content=kept, model=asked.model or next(iter(models), ""), models=models)


def _of_pairs(text: str, names: Sequence[str]) -> list[str]:
    """What `a=1&b=2` gives to any of `names`; some take a semicolon for an ampersand."""
    readings = (text, text.replace(";", "&")) if ";" in text else (text,)
    return [value for reading in readings for name, value in parse_qsl(reading) if name in names]
