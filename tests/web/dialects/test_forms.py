"""Forms: what real clients send passes, what two servers could read in two ways does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.parser import BytesParser
from io import BytesIO
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from werkzeug.formparser import MultiPartParser

from mlops_backend.services.llm.model_names import is_cloud
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service
from tests.web.raw_requests import ask, written

CLOUD = "gpt-oss:120b-cloud"
TRANSCRIBE = "/v1/audio/transcriptions"
EDIT = "/v1/images/edits"
TYPE = "multipart/form-data; boundary=B"
ROUTES = f"POST {EDIT},POST /v1/new,GET /api/new"


def part(disposition: str, value: str, *headers: str) -> bytes:
    """One part of a form."""
    return "\r\n".join(["--B", f"Content-Disposition: {disposition}", *headers, "", value, ""]).encode("latin-1")


def form_of(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--B--\r\n"


SOUND = part('form-data; name="file"; filename="a.wav"', "RIFF", "Content-Type: audio/wav")
MODEL = part('form-data; name="model"', "llama3")
HIDDEN = part('form-data; name="model"', CLOUD)
HONEST = form_of(SOUND, MODEL)
WITHOUT_HEAD = b"--B\r\n\r\nx\r\n"
ODD: dict[str, bytes] = {
    "an end at a bare line feed": SOUND.replace(b"RIFF", b"RIFF\n--B--\r\n more") + form_of(HIDDEN),
    "a boundary at a bare line feed": SOUND.replace(b"RIFF", b"RIFF\n--B") + form_of(MODEL),
    "a boundary at a bare return": SOUND.replace(b"RIFF", b"RIFF\r--B") + form_of(MODEL),
    "a boundary in a line": SOUND.replace(b"RIFF", b"RIFF --B") + form_of(MODEL),
    "a longer boundary": SOUND.replace(b"RIFF", b"RIFF\r\n--Bx") + form_of(MODEL),
    "an end in the preamble": b"xx--B--\r\n" + form_of(HIDDEN),
    "a preamble": b"preamble\r\n" + HONEST,
    "a blank line before": b"\r\n" + HONEST,
    "an epilogue": HONEST + b"epilogue",
    "a form in the epilogue": HONEST + form_of(HIDDEN),
    "no end": SOUND + MODEL,
    "half an end": SOUND + MODEL + b"--B-\r\n",
    "spaces behind a boundary": HONEST.replace(b"--B\r\n", b"--B \r\n"),
    "bare line feeds": HONEST.replace(b"\r\n", b"\n"),
    "a bare line feed in a head": HONEST.replace(b"\r\nContent-Type", b"\nContent-Type"),
    "a bare return in a head": HONEST.replace(b"\r\nContent-Type", b"\rContent-Type"),
    "a folded header": form_of(part('form-data;\r\n name="model"', "llama3")),
    "no disposition": form_of(WITHOUT_HEAD, MODEL),
    "two dispositions": form_of(part('form-data; name="a"', "x", 'Content-Disposition: form-data; name="model"')),
    "a space before the colon": form_of(MODEL.replace(b"Disposition:", b"Disposition :")),
    "a header without a colon": form_of(part('form-data; name="model"', "llama3", "x")),
    "a nul in a header": form_of(part('form-data; name="model"', "llama3", "X: \x00")),
    "an attachment": form_of(part('attachment; name="model"', "llama3")),
    "no name": form_of(part("form-data", "llama3")),
    "an extended name before": form_of(part("form-data; name*=utf-8''model; name=\"a\"", CLOUD)),
    "an extended name behind": form_of(part("form-data; name=\"a\"; name*=utf-8''model", CLOUD)),
    "an extended file name alone": form_of(part("form-data; name=\"model\"; filename*=utf-8''a", CLOUD)),
    "a name in pieces": form_of(part('form-data; name*0="mo"; name*1="del"', CLOUD)),
    "two names": form_of(part('form-data; name="a"; name="model"', CLOUD)),
    "an escaped name": form_of(part('form-data; name="mo\\del"', CLOUD)),
    "an escaped quotation mark": form_of(part('form-data; name="a\\"; name="model"', CLOUD)),
    "a file's escaped quotation mark": form_of(part('form-data; name="a"; filename="\\"; name="model"', CLOUD)),
    "a name in a file's name": form_of(part('form-data; name="a"; filename="a; name=model"', CLOUD)),
    "a name in a name": form_of(part('form-data; name="a; name=model"', CLOUD)),
    "a model that is a file": form_of(part('form-data; name="model"; filename="m"', "llama3")),
    "a model in base64": form_of(part('form-data; name="model"', "eDpjbG91ZA==", "Content-Transfer-Encoding: base64")),
    "a model in UTF-7": form_of(
        part('form-data; name="model"', "x+ADo-cloud", "Content-Type: text/plain; charset=utf-7")
    ),
    "a model in JSON": form_of(part('form-data; name="model"', f'"{CLOUD}"', "Content-Type: application/json")),
    "a model with a nul": form_of(part('form-data; name="model"', f"{CLOUD}\x00")),
    "two models": form_of(MODEL, MODEL),
    "very many parts": form_of(*[part('form-data; name="a"', "")] * 101, MODEL),
    "a very long head": form_of(part('form-data; name="a"', "x", *["X: y"] * 5000), MODEL),
}
ODD_TYPES = (
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="B',
    "multipart/form-data; boundary=B; boundary=C",
    "multipart/form-data; boundary*=utf-8''B",
    "multipart/form-data; boundary*0=B",
    "multipart/form-data; boundary=B; boundary*=C",
    'multipart/form-data; charset="x; boundary=B',
    "multipart/form-data; boundary=B, text/plain",
    "multipart/form-data; boundary=B;",
    "multipart/form-data; boundary=B\xe9",
    "multipart/form-data, application/json; boundary=B",
    f"multipart/form-data; boundary={'B' * 71}",
    "multipart/mixed; boundary=B",
)


@pytest.fixture(name="open_service")
async def _open_service(serve: ServeFactory, fake: FakeOllama) -> Any:
    """The service with a route that it does not know."""
    async with serve(fake.url, passthrough_routes=ROUTES) as service:
        yield service


@pytest.mark.parametrize("path", [TRANSCRIBE, EDIT])
@pytest.mark.parametrize("form", ODD.values(), ids=ODD)
async def test_an_odd_form_is_refused(open_service: Service, fake: FakeOllama, form: bytes, path: str) -> None:
    """A form that two servers could read in two ways is a 400, whatever model it names, and no backend gets it."""
    answer = await open_service.client.post(path, content=form, headers={"Content-Type": TYPE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert fake.requests == []


@pytest.mark.parametrize("path", [TRANSCRIBE, EDIT])
@pytest.mark.parametrize("kind", ODD_TYPES)
async def test_an_odd_boundary_is_refused(open_service: Service, fake: FakeOllama, kind: str, path: str) -> None:
    """A form whose boundary two servers could read in two ways is a 400 as well."""
    headers = {b"Content-Type": kind.encode("latin-1")}
    answer = await open_service.client.post(path, content=HONEST, headers=headers)
    assert (answer.status_code, fake.requests) == (400, [])
    twice = [("Content-Type", TYPE), ("Content-Type", "multipart/form-data; boundary=C")]
    assert (await open_service.client.post(path, content=HONEST, headers=twice)).status_code == 400


def raw(kind: str, *parts: bytes) -> Callable[[], tuple[str, bytes]]:
    """A form as a client writes it whose own code is not here; `B` stands for its boundary."""
    boundary = kind.partition("boundary=")[2].partition(";")[0].strip('"').encode()
    return lambda: (kind, form_of(*parts).replace(b"--B", b"--" + boundary))


NET = (
    part("form-data; name=file; filename=a.wav; filename*=utf-8''a.wav", "RIFF"),
    part("form-data; name=model", "llama3", "Content-Type: text/plain; charset=utf-8"),
)
GO = (
    part('form-data; name="file"; filename="C:\\\\sounds\\\\a.wav"', "RIFF", "Content-Type: application/octet-stream"),
    MODEL,
)
JAVA = (
    part('form-data; name="file"; filename="a.wav"', "RIFF", "Content-Transfer-Encoding: binary"),
    part(
        'form-data; name="model"',
        "llama3",
        "Content-Type: text/plain; charset=ISO-8859-1",
        "Content-Transfer-Encoding: 8bit",
    ),
)
AIOHTTP = (
    b'--B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama3\r\n',
    part('form-data; name="file"; filename="a%20b%3Bc.wav"', "RIFF", "Content-Type: audio/wav"),
)
OKHTTP = (SOUND, part('form-data; name="model"', "llama3", "Content-Length: 6"))
BROWSER = (
    part('form-data; name="file"; filename="\xc3\xbc \\ %22; b=c.wav"', "RIFF", "Content-Type: audio/wav"),
    MODEL,
)
CLIENTS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "curl": raw("multipart/form-data; boundary=------------------------d74496d66958873e", MODEL, SOUND),
    "requests": raw("multipart/form-data; boundary=0c3b2f7e6f7c4d6f8a7c0d9e8f7a6b5c", MODEL, SOUND),
    "Go": raw(f"multipart/form-data; boundary={'0a1b2c' * 10}", *GO),
    "a browser": raw("multipart/form-data; boundary=----WebKitFormBoundaryAbCdEf0123456789", *BROWSER),
    "Node": raw("multipart/form-data; boundary=----formdata-undici-012345678901", MODEL, SOUND),
    ".NET": raw('multipart/form-data; boundary="0f8fad5b-d9cb-469f-a165-70867728950e"', *NET),
    "Java": raw("multipart/form-data; boundary=Ab_-9; charset=ISO-8859-1", *JAVA),
    "JavaMail": raw('multipart/form-data; boundary="----=_Part_5_1227443525.1700000000000"', SOUND, MODEL),
    "aiohttp": raw("multipart/form-data; boundary=0c3b2f7e6f7c4d6f8a7c0d9e8f7a6b5c", *AIOHTTP),
    "OkHttp": raw("multipart/form-data; boundary=0f8fad5b-d9cb-469f-a165-70867728950e", *OKHTTP),
}


@pytest.mark.parametrize("path", [TRANSCRIBE, EDIT])
@pytest.mark.parametrize("form_by", CLIENTS.values(), ids=CLIENTS)
async def test_what_clients_write_passes(
    open_service: Service, fake: FakeOllama, form_by: Callable[[], tuple[str, bytes]], path: str
) -> None:
    """The forms of the usual clients arrive byte for byte, and the model in them is what is asked for."""
    kind, form = form_by()
    answer = await open_service.client.post(path, content=form, headers={"Content-Type": kind})
    (asked,) = fake.requests
    assert (answer.status_code != 400, asked.body, asked.header("content-type")) == (True, form, kind)
    cloud = form.replace(b"llama3", CLOUD.encode())
    answer = await open_service.client.post(path, content=cloud, headers={"Content-Type": kind})
    assert (answer.status_code, len(fake.requests)) == (403, 1)


@pytest.mark.parametrize("name", ["a.wav", 'a"b\\c; d=e\u00fc.wav', "a\\"])
async def test_httpx_and_openai_pass(open_service: Service, fake: FakeOllama, name: str) -> None:
    """What httpx and OpenAI's SDK make of a file passes, whatever is in it."""
    sound = bytes(range(256)) * 9 + b"\r\n--\r\n\n--B--\r\n"
    client = AsyncOpenAI(base_url=f"{open_service.url}/v1", api_key=ORDINARY_KEY, max_retries=0)
    odd = name.endswith("\\")  # httpx writes it as \\", which is one thing to some and another to others
    async with client:
        data = {"model": "llama3", "prompt": "x:cloud\r\n"}
        answer = await open_service.client.post(TRANSCRIBE, files={"file": (name, sound)}, data=data)
        assert answer.status_code == (400 if odd else 200)
        if not odd:
            await client.audio.transcriptions.create(model="llama3", file=(name, sound))
    assert all(sound in asked.body for asked in fake.requests)
    assert len(fake.requests) == (0 if odd else 2)


FIELDS = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "query",
    [
        f"model={CLOUD}",
        f"name={CLOUD}",
        f"model=llama3&model={CLOUD}",
        f"model={CLOUD}&model=llama3",
        "mod%65l=x%3Acloud",
        "a=b;model=x:cloud",
        "a&model=+x:CLOUD+",
    ],
)
async def test_a_query_hides_no_cloud_model(open_service: Service, fake: FakeOllama, query: str) -> None:
    """Where the query goes on as it is, every model that it names has to be allowed; and so in a form like a query."""
    client = open_service.client
    assert (await client.get(f"/api/new?{query}")).status_code == 403
    assert (await client.post(f"/v1/new?{query}", json={"model": "llama3"})).status_code == 403
    assert (await client.post("/v1/new", content=query, headers={"Content-Type": FIELDS})).status_code == 403
    assert fake.requests == []


async def test_a_query_has_no_end_within(open_service: Service, fake: FakeOllama) -> None:
    """What stands behind a `#` in a request's target reaches the backend as a part of the query, as we read it."""
    answer = await ask(open_service, written("GET", f"/api/new?model={CLOUD}#x", body=b""))
    assert answer.status == 404
    assert [asked.query for asked in fake.requests] == [f"model={CLOUD}%23x"]


async def test_what_is_let_through_arrives_as_it_is(open_service: Service, fake: FakeOllama) -> None:
    """Query and bytes of such a route arrive unchanged; the model counts wherever it stands."""
    assert (await open_service.client.get("/api/new?model=llama3&q=a%20b;c")).status_code == 404
    assert (await open_service.client.post("/v1/new", content=b" \xff \r\n")).status_code == 404
    assert [(asked.query, asked.body) for asked in fake.requests] == [
        ("model=llama3&q=a%20b;c", b""),
        ("", b" \xff \r\n"),
    ]


def of_werkzeug(form: bytes) -> list[str]:
    """The models that werkzeug reads."""
    try:
        fields, _ = MultiPartParser(stream_factory=lambda *_, **__: BytesIO()).parse(BytesIO(form), b"B", len(form))
    except ValueError:
        return []
    return fields.getlist("model")


def of_python(form: bytes) -> Iterator[str]:
    """The models that Python's reader of mail finds."""
    mail = BytesParser().parsebytes(b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + form)
    for one in mail.walk():
        named = one.get_param("name", header="content-disposition")
        if (named[2] if isinstance(named, tuple) else named) == "model" and not one.is_multipart():
            yield bytes(one.get_payload(decode=True) or b"").decode("utf-8", "replace")


PIECES = st.sampled_from(
    [
        *(
            b"--B\r\n",
            b"--B\r\n",
            b"--B--\r\n",
            b"--B--",
            b"--B\n",
            b"\n--B\n",
            b"\r\n--B\r\n",
            b"--B \r\n",
            b"xx--B--\r\n",
        ),
        *(b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"llama3\r\n", CLOUD.encode() + b"\r\n", b"RIFF\r\n"),
        *(
            MODEL,
            HIDDEN,
            SOUND,
            WITHOUT_HEAD,
            b"Content-Type: text/plain\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
        ),
        *(b'Content-Disposition: form-data; name="model"\r\n', b'Content-Disposition: form-data; name="a"\r\n'),
        *(b"Content-Disposition: form-data; name*=utf-8''model; name=a\r\n", b'; name="model"', b" name=model\r\n"),
    ]
)


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(PIECES, max_size=9), whole=st.booleans())
async def test_no_reader_finds_a_cloud_model(
    service: Service, fake: FakeOllama, pieces: list[bytes], whole: bool
) -> None:
    """Of a form that reaches a backend no reader takes another model than we do."""
    fake.requests.clear()
    form = b"".join(pieces) + (b"--B--\r\n" if whole else b"")
    await service.client.post(TRANSCRIBE, content=form, headers={"Content-Type": TYPE})
    for asked in fake.requests:
        assert not any(map(is_cloud, [*of_werkzeug(asked.body), *of_python(asked.body)]))


@pytest.mark.parametrize(
    "data",
    [
        b"--B" * 2_000_000,
        pytest.param(b"\r\n--" * 2_000_000, marks=pytest.mark.long),
        pytest.param(b"\r\n" * 4_000_000, marks=pytest.mark.long),
        pytest.param(b" " * 8_000_000, marks=pytest.mark.long),
        b"X: y\r\n" * 1_000_000,
    ],
    ids=["boundaries", "dashes", "lines", "spaces", "headers"],
)
async def test_a_long_form_is_read_in_no_time(open_service: Service, data: bytes) -> None:
    """Megabytes that look like a form all over hold nobody up."""
    for form in (data, b"--B\r\n" + data, MODEL + data, SOUND.replace(b"RIFF", data) + MODEL):
        started = process_time()
        answer = await open_service.client.post(TRANSCRIBE, content=form, headers={"Content-Type": TYPE})
        assert (answer.status_code, process_time() - started < 2) == (400, True)
