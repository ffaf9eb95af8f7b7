"""Large bodies are read without their long texts, and are the same in every other way."""

from __future__ import annotations

import base64
import json
import random

import pytest

from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.asked import GENERATE, OPENAI_GENERATE, read_asked
from mlops_backend.services.llm.dialects import in_full, last_of, shortened

IMAGE = base64.b64encode(random.Random(1).randbytes(300_000)).decode()
PLAIN = "é" * 200_000
ESCAPED = "a line\n" * 50_000
NUMBERS = "[" + ",".join(["1"] * 200_000) + "]"


def bodies() -> dict[str, str]:
    """Bodies of more than a quarter of a megabyte; what is in them where a cut may go wrong."""
    return {
        "an image": json.dumps({"model": "m", "messages": [{"images": [IMAGE]}], "stream": True}),
        "two": json.dumps({"a": IMAGE, "model": "m", "b": [IMAGE]}),
        "other letters": json.dumps({"model": "m", "prompt": PLAIN}, ensure_ascii=False),
        "lines": json.dumps({"model": "m", "prompt": ESCAPED, "images": [IMAGE]}),
        "numbers between texts": f'{{"context":{NUMBERS},"model":"m"}}',
        "spaces between texts": f'{{"a":{" " * 300_000}"b","model":"m"}}',
        "an escaped mark before it": f'{{"a":"say \\"{IMAGE}","model":"m"}}',
        "an escaped mark behind it": f'{{"a":"{IMAGE}\\"","model":"m"}}',
        "two backslashes behind it": f'{{"a":"{IMAGE}\\\\","model":"m"}}',
        "what stands in": f'{{"a":"\\u00000;","b":"{IMAGE}","model":"m"}}',
        "a long model": f'{{"model":"{IMAGE}","prompt":"x"}}',
        "a model that begins like one": f'{{"model":"m\\"{IMAGE}"}}',
        "names twice": f'{{"model":"a","MODEL":"m","prompt":"{IMAGE}","model":null}}',
        "a model behind an open text": f'{{"prompt":"{IMAGE},"model":"m"}}',
        "not closed": f'{{"model":"m","prompt":"{IMAGE}"',
        "no object": f'["{IMAGE}"]',
        "a line break within": f'{{"model":"m","prompt":"{IMAGE}\n"}}',
        "options": f'{{"stream_options":{{"x":1}},"stream":true,"model":"m","prompt":"{IMAGE}"}}',
    }


@pytest.mark.parametrize("name", bodies())
def test_what_is_read_is_what_stands_there(name: str) -> None:
    """Models, and whether there is an object at all, are those of the body read in full."""
    body = bodies()[name].encode()
    short, full = shortened(body), in_full(body)
    if name != "a line break within":  # the backend refuses that
        assert (short.members is None) == (full.members is None)
    for field in ("stream", "stream_options"):
        assert last_of(short.members or (), field) == last_of(full.members or (), field)
    asked = read_asked(GENERATE, "POST", "/api/generate", (), body)
    wanted = [found.value for found in full.members or () if found.name.lower() == "model" and found.value]
    if name != "a line break within":
        assert list(asked.models) == list(dict.fromkeys(wanted))
    assert asked.content == body


@pytest.mark.parametrize("name", bodies())
def test_it_is_restored(name: str) -> None:
    """What was left out comes back where it was; but for the usage that is asked for, the body is the client's."""
    body = bodies()[name].encode()
    short = shortened(body)
    assert short.members is None or short.restored(short.text) == body
    streamed = body.replace(b"{", b'{"stream":true,', 1)
    content = read_asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", (), streamed).content
    assert isinstance(content, bytes)
    if in_full(streamed).members is None or name == "a line break within":
        return
    told = json.loads(content)
    assert told.pop("stream_options")["include_usage"] is True
    assert {**told, "stream_options": None} == {**json.loads(streamed), "stream_options": None}


@pytest.mark.parametrize("name", ["an image", "two", "other letters"])
def test_long_texts_are_left_out(name: str) -> None:
    """That is what it is for."""
    assert len(shortened(bodies()[name].encode()).text) < 1000


REFUSED = {
    "a field with too long a name": f'{{"{IMAGE}":1}}',
    "too many fields, or too long ones": f'{{{" " * 2_000_000}"a":1}}',
    "a field twice": f'{{"a":"{IMAGE}","a":1}}',
    "nests too deeply": f'{{"a":{"[" * 300_000}',
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_read_in_a_few_steps_is_refused(told: str) -> None:
    """What stands between the large values is read in full, and so is not to be long; of two the last would count."""
    with pytest.raises(InvalidJSON, match=told):
        shortened(REFUSED[told].encode())


def test_random_bodies_read_alike() -> None:
    """Whatever the texts hold: quotation marks, backslashes, brackets, and what looks like a member."""
    chance = random.Random(2)
    marks = [*'"\\{}[],: \n', '"model":"b"', "x" * 40_000, "1"]

    def text() -> str:
        return "".join(chance.choice(marks) for _ in range(chance.randrange(12))) + "\0" * (chance.random() < 0.02)

    left_out = 0
    for _ in range(300):
        names = [chance.choice(["a", text().replace("x" * 40_000, "x")]) for _ in range(4)]
        members = [(name, "again" if names.count(name) > 1 else chance.choice([text(), [text()]])) for name in names]
        members += [("b", "y" * 270_000), ("model", chance.choice(["m", text()]))]
        chance.shuffle(members)
        body = ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}").encode()
        short, full = shortened(body), in_full(body)
        left_out += len(short.text) < len(full.text)
        assert short.restored(short.text) == body
        found = [last_of(each.members or (), "model") for each in (short, full)]
        assert found[0] == found[1] or "\0" in found[0]
        assert read_asked(GENERATE, "POST", "/api/generate", (), body).models == ((found[1],) if found[1] else ())
    assert left_out > 100
