"""A cloud model, however it is named, runs on no backend unless that was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

CLOUD = "gpt-oss:120b-cloud"
MESSAGES = [{"role": "user", "content": "Hi"}]
# What a backend reads a model from.
READ_FROM: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("/api/generate", "/api/chat", "/api/embed", "/api/embeddings"), ("model",)),
    **dict.fromkeys(("/v1/chat/completions", "/v1/completions", "/v1/embeddings"), ("model",)),
    **dict.fromkeys(("/v1/responses", "/v1/messages", "/v1/messages/count_tokens"), ("model",)),
    **dict.fromkeys(("/api/llm/generate", "/api/llm/chat", "/api/llm/embed"), ("model",)),
    **dict.fromkeys(("/api/show", "/api/pull", "/api/push"), ("model", "name")),
    "/api/create": ("model", "name", "from"),
    "/api/copy": ("source", "destination"),
}
ESCAPED = ('"\\u006dodel"', '"mode\\u006C"', '"\\u0066rom"', '"\u017fource"', '"de\u017ftination"')
SPELLINGS = ("model", "Model", "MODEL", "mODEL", "name", "Name", "from", "From", "source", "SOURCE", "destination")
FOLDED = str.maketrans("\u017f\u212a", "sk")
VALUES = st.one_of(
    st.sampled_from(["llama3", "llama3:latest", "", CLOUD, "x:cloud", "X:Cloud", " x:cloud ", "a/b/x:CLOUD", "cloud"]),
    st.sampled_from([None, True, 7, ["x:cloud"], {"model": "x:cloud"}, "x:cloud@sha256:0", "x:cloudy"]),
)
MEMBERS = st.lists(
    st.tuples(st.one_of(st.sampled_from(SPELLINGS).map(json.dumps), st.sampled_from(ESCAPED)), VALUES.map(json.dumps)),
    max_size=5,
)
SPACE = st.text(" \t\r\n", max_size=2)
BEHIND = st.sampled_from(["", " ", "x", "}", ',{"model":"x:cloud"}', '{"model":"x:cloud"}', "\x00"])
REST = '"prompt":"Hi","input":"Hi","max_tokens":8,"messages":[{"role":"user","content":"Hi"}],"stream":false'


def is_cloud(name: object) -> bool:
    """Whether a name's tag is `cloud`, or ends in `-cloud`."""
    tag = str(name).strip().lower().partition("@")[0].rpartition(":")
    return isinstance(name, str) and bool(tag[1]) and (tag[2] == "cloud" or tag[2].endswith("-cloud"))


def readings(body: bytes, fields: tuple[str, ...]) -> Iterator[object]:
    """Every model that some reader finds: Go's, in any case; Python's, exactly so; the first, the last."""
    try:
        pairs = json.JSONDecoder(object_pairs_hook=list).raw_decode(body.decode().lstrip(" \t\r\n"))[0]
    except ValueError:
        return
    for field in fields:
        for fold in (True, False):
            named = [
                value
                for name, value in pairs
                if (name.lower().translate(FOLDED) if fold else name) == field and value is not None
            ]
            yield from (named[:1] + named[-1:])


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(sorted(READ_FROM)), members=MEMBERS, space=SPACE, behind=BEHIND, last=st.booleans())
async def test_no_reader_finds_a_cloud_model(
    service: Service, fake: FakeOllama, path: str, members: list[tuple[str, str]], space: str, behind: str, last: bool
) -> None:
    """Of the bytes that reach a backend neither Go nor Python, first or last, reads a model of the cloud."""
    fake.requests.clear()
    named = [f"{name}{space}:{space}{value}" for name, value in members]
    inner = f"{space},{space}".join([*named, REST] if not last else [REST, *named])
    body = f"{space}{{{inner}}}{behind}".encode()
    await service.client.post(path, content=body, headers={"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"})
    for asked in fake.requests:
        assert not any(map(is_cloud, readings(asked.body, READ_FROM[path])))


def body_for(path: str, model: str) -> dict[str, Any]:
    """A whole request that names a model in the last of its route's fields."""
    *first, field = READ_FROM[path]
    body = dict.fromkeys(first, "llama3") | {field: model, "prompt": "Hi", "messages": MESSAGES, "stream": False}
    return body | {"input": "Hi", "max_tokens": 8}


@pytest.mark.parametrize("path", READ_FROM)
async def test_cloud_models_are_a_switch(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """By default such a name is 403 on every route, the administrator's too; ALLOW_CLOUD_MODELS lets it pass."""
    fake.models.append(CLOUD)
    for allowed in (False, True):
        async with serve(fake.url, allow_cloud_models=allowed) as service:
            asked = body_for(path, CLOUD)
            answer = await service.client.post(path, json=asked, headers={"X-API-Key": ADMIN_KEY})
        assert answer.status_code == (200 if allowed else 403), answer.text
        assert len(fake.requests) == allowed


@pytest.mark.parametrize("model", [CLOUD, "x%3Acloud", "%20x:CLOUD"])
async def test_a_cloud_model_is_not_described(service: Service, fake: FakeOllama, model: str) -> None:
    """A path may not name one either."""
    assert (await service.client.get(f"/v1/models/{model}")).status_code == 403
    assert fake.requests == []


async def test_a_prepared_stream_does_not_run_a_cloud_model(service: Service, fake: FakeOllama) -> None:
    """What a ticket was given for is checked like any other request."""
    ticket = await service.client.post("/api/llm/streams", json={"model": CLOUD, "prompt": "Hi"})
    if ticket.status_code != 403:
        assert (await service.stranger.get(ticket.json()["url"])).status_code == 403
    assert fake.requests == []


SOUND = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'


def part(disposition: str, value: str, *headers: str) -> bytes:
    """One part of a form."""
    lines = ["--b", f"Content-Disposition: {disposition}", *headers, "", value, ""]
    return "\r\n".join(lines).encode()


HONEST, HIDDEN = part('form-data; name="model"', "llama3"), part('form-data; name="model"', CLOUD)
FORMS = {
    "alone": HIDDEN,
    "last of two": HONEST + HIDDEN,
    "first of two": HIDDEN + HONEST,
    "unquoted": part("form-data; name=model", CLOUD),
    "in capitals": part('FORM-DATA; NAME="model"', CLOUD),
    "extended": part("form-data; name*=utf-8''model", CLOUD),
    "extended and escaped": part("form-data; name*=utf-8''%6dodel", CLOUD),
    "in two pieces": part('form-data; name*0="mo"; name*1="del"', CLOUD),
    "on two lines": part('form-data;\r\n name="model"', CLOUD),
    "without a file name": part('form-data; name="model"; filename=""', CLOUD),
    "a file": part('form-data; name="model"; filename="m"', CLOUD),
    "quoted-printable": part('form-data; name="model"', "x=3Acloud", "Content-Transfer-Encoding: quoted-printable"),
    "a soft line break": part('form-data; name="model"', "x:clo=\r\nud", "Content-Transfer-Encoding: Quoted-Printable"),
    "base64": part('form-data; name="model"', "eDpjbG91ZA==", "Content-Transfer-Encoding: base64"),
    "bare line feeds": HIDDEN.replace(b"\r\n", b"\n"),
    "behind spaces": HIDDEN.replace(b"--b\r\n", b"--b \t\r\n"),
    "spaces around": part('form-data; name="model"', f" {CLOUD} "),
    "behind a preamble": b"preamble\r\n" + HIDDEN,
}


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", 'Multipart/Form-Data; boundary="b"'])
@pytest.mark.parametrize("fields", FORMS.values(), ids=FORMS)
async def test_a_form_hides_no_cloud_model(
    service: Service, fake: FakeOllama, fields: bytes, content_type: str
) -> None:
    """However a form writes down such a model, also beside another, no backend gets to read it."""
    end = b"\n--b--\n" if b"\r" not in fields else b"--b--\r\n"
    for form in (fields + SOUND + end, SOUND + fields + end):
        headers = {"Content-Type": content_type}
        answer = await service.client.post("/v1/audio/transcriptions", content=form, headers=headers)
        assert answer.status_code in {400, 403}
        assert fake.requests == []


async def test_an_honest_form_passes(service: Service, fake: FakeOllama) -> None:
    """A form that names one model once arrives byte for byte, whatever else it holds."""
    form = SOUND + HONEST + part('form-data; name="prompt"', CLOUD) + b"--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await service.client.post("/v1/audio/transcriptions?model=x:cloud", content=form, headers=headers)
    (asked,) = fake.requests
    assert (answer.status_code, asked.body, asked.query) == (200, form, "")
    assert asked.header("content-type") == headers["Content-Type"]
