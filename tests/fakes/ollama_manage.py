"""What changes the fake Ollama's models: pull, push and create with their progress, copy and delete."""

import re

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama_dialect import Native
from tests.fakes.ollama_errors import PLAIN_JSON_TYPE, Refused, error_for
from tests.fakes.ollama_modes import BROKEN_OFF, Script
from tests.fakes.ollama_play import DYING, Stage
from tests.fakes.ollama_requests import body_of, full_name, knows, named_model
from tests.fakes.ollama_shapes import DIGEST, JsonObject, encode

SUCCESS: JsonObject = {"status": "success"}
SIZE = 4_661_224_676
DEATHS = {
    "/api/pull": "max retries exceeded: unexpected EOF",
    "/api/push": "upload failed: unexpected EOF",
    "/api/create": "unexpected EOF",
}
NAME = re.compile(r"[\w./:-]+\Z")


def _layer(verb: str) -> list[JsonObject]:
    layer = {"status": f"{verb} {DIGEST[:12]}", "digest": f"sha256:{DIGEST}", "total": SIZE}
    return [layer, layer | {"completed": SIZE // 2}, layer | {"completed": SIZE}]


STEPS: dict[str, list[JsonObject]] = {
    "/api/pull": [
        {"status": "pulling manifest"},
        *_layer("pulling"),
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
    ],
    "/api/push": [{"status": "retrieving manifest"}, *_layer("pushing"), {"status": "pushing manifest"}],
    "/api/create": [
        {"status": f"using existing layer sha256:{DIGEST}"},
        {"status": "writing manifest"},
    ],
}


async def progress(script: Script, connection: Connection, request: Request, path: str) -> None:
    """Answer pull, push or create; the model is there when `success` leaves."""
    stage = Stage(script.mode, script, connection, path, DEATHS[path])
    body = body_of(request)
    if await stage.opening():
        return
    model = named_model(body)
    if not NAME.match(model):
        raise Refused(error_for(path, 400, "model is required" if path == "/api/push" else "invalid model name"))

    def leaving(line: bytes) -> None:
        if line == encode(SUCCESS) + b"\n" and path != "/api/push":
            add_model(script, model)

    if body.get("stream", True):
        await stage.stream(Native(), STEPS[path], SUCCESS, leaving)
        return
    await stage.whole(Reply(200, PLAIN_JSON_TYPE, encode(SUCCESS)))
    if stage.mode not in (*BROKEN_OFF, *DYING):
        leaving(encode(SUCCESS) + b"\n")


def add_model(script: Script, model: str) -> None:
    """Have a model, if it is not there yet."""
    if not knows(script.models, model):
        script.models.append(model if ":" in model else f"{model}:latest")


def copy(script: Script, request: Request) -> Reply:
    """Answer POST /api/copy."""
    body = body_of(request)
    source, destination = str(body.get("source", "")), str(body.get("destination", ""))
    for field, name in (("source", source), ("destination", destination)):
        if not NAME.match(name):
            raise Refused(error_for(request.path, 400, f'{field} "{name}" is invalid'))
    if not knows(script.models, source):
        raise Refused(error_for(request.path, 404, f'model "{source}" not found'))
    add_model(script, destination)
    return Reply(200)


def delete(script: Script, request: Request) -> Reply:
    """Answer DELETE /api/delete."""
    model = named_model(body_of(request))
    if not NAME.match(model):
        raise Refused(error_for(request.path, 400, f'name "{model}" is invalid'))
    if not knows(script.models, model):
        raise Refused(error_for(request.path, 404, f"model '{model}' not found"))
    script.models[:] = [name for name in script.models if full_name(name) != full_name(model)]
    return Reply(200)
