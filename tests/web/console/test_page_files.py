"""The console's page and its files: of this origin, of one build, under a strict policy."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.e2e.processes import REPOSITORY
from tests.service import Service

BROWSER = {"Accept-Encoding": "gzip, deflate, br"}


async def build_of(service: Service) -> str:
    """The build that the page names."""
    found = re.search(r"assets/([0-9a-f]{16})/", (await fetch(service, "/console/")).text)
    assert found is not None
    return found[1]


async def fetch(service: Service, path: str, **headers: str) -> httpx.Response:
    """As a stranger's browser, before anybody has signed in."""
    return await service.stranger.get(path, headers={**BROWSER, **headers})


def test_no_page_changes_how_another_one_looks() -> None:
    """A page's sheet stays when another page is shown: what two have a rule for would look as who came last has it."""
    folder = REPOSITORY / "mlops_backend/console"
    shared = set(re.findall(r"styles/([\w-]+\.css)", (folder / "index.html").read_text()))
    found: dict[str, list[str]] = {}
    for sheet in sorted((folder / "styles").glob("*.css")):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
        for selector in {name.strip() for name in re.findall(r"(?:^|[{};])([^{};@]+)\{", text)} - {"from", "to"}:
            found.setdefault(selector, []).append(sheet.name)
    twice = {name: sheets for name, sheets in found.items() if len({*sheets}) > 1 and {*sheets} - shared}
    assert (len(shared), twice) == (4, {})


async def test_the_page_names_its_build(service: Service) -> None:
    """It is asked for again each time; nothing is left to fill in, and it runs nothing that is written in it."""
    page = await fetch(service, "/console/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    assert "{{" not in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|https?://", page.text)
    assert (await fetch(service, "/console")).headers["location"] == "console/"


async def test_whatever_is_served_there_is_under_one_policy(service: Service) -> None:
    """Scripts, styles and connections of this origin only; no inline script, no eval, in nobody's frame."""
    build = await build_of(service)
    for path in ("/console/", f"/console/assets/{build}/app.js"):
        policy = (await fetch(service, path)).headers.get("content-security-policy", "")
        parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert parts["default-src"] == "'none'"
        assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
        assert parts["frame-ancestors"] == parts["base-uri"] == parts["form-action"] == "'none'"
        assert parts["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in policy


async def test_a_file_is_kept_for_good(service: Service) -> None:
    """Its address names the build, so a browser asks for it once; in gzip where it takes that."""
    build = await build_of(service)
    path = f"/console/assets/{build}/app.js"
    zipped = await fetch(service, path)
    plain = await service.stranger.get(path, headers={"Accept-Encoding": "identity"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert zipped.content == plain.content
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"])
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in plain.headers["cache-control"]


@pytest.mark.parametrize(
    "name",
    [
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "index.html",
        "package.json",
        "package-lock.json",
        "x",
        "vendor/",
        "a" * 300,
    ],
)
async def test_files_are_those_of_one_folder(service: Service, name: str) -> None:
    """No address leaves it, and what is there for others is not served."""
    build = await build_of(service)
    request = service.stranger.build_request("GET", service.url)
    request.url = request.url.copy_with(raw_path=f"/console/assets/{build}/{name}".encode())
    assert (await service.stranger.send(request)).status_code in (401, 404)


async def test_another_build_has_no_files(service: Service) -> None:
    """A page of before does not get files of now, which would not fit it."""
    assert (await fetch(service, "/console/assets/0123456789abcdef/app.js")).status_code == 404
