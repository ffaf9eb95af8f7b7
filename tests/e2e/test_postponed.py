"""What is postponed, in a process that begins with the product as its users' does."""

from __future__ import annotations

import json
import subprocess
import sys

from mlops_backend import postponed
from tests.e2e.processes import REPOSITORY, clean_environment

# Run after the product was imported, in a process of its own: names of `POSTPONED` that their modules do not have.
NAMES = """
import json, sys
import mlops_backend.server
from mlops_backend.postponed import POSTPONED, _NotYet
waiting = [name for name in POSTPONED if isinstance(sys.modules.get(name), _NotYet)]
import hypercorn.protocol, html, argparse, logging.config, quart
missing = []
for name in waiting:
    module = sys.modules[name]
    try:
        getattr(module, "no such name", None)
    except ImportError as error:
        assert name == "httpx._main" or name.startswith("rich"), error
    else:
        missing += [f"{name}.{each}" for each in POSTPONED[name] if type(getattr(module, each)).__name__ == "_StandIn"]
print(json.dumps({"waiting": waiting, "missing": missing}))
"""
# The libraries' own use of what was postponed.
USES = """
import asyncio, sys
import mlops_backend.server
import argparse, html, quart
from hypercorn.protocol import H2Protocol
from pydantic_settings import BaseSettings, CliApp
class Page(quart.Quart): pass
async def page():
    app = Page("pages")
    async with app.app_context():
        return await quart.render_template_string("{{ 1 + 1 }} {{ name }}", name="<")
parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int, default=argparse.SUPPRESS)
class Told(BaseSettings):
    size: int = 1
print(html.unescape("&eacute;"), asyncio.run(page()), parser.parse_args([]), CliApp.run(Told, ["--size", "3"]).size,
      isinstance(object(), H2Protocol), H2Protocol.handle.__name__)
"""


def said(script: str) -> str:
    """What a script prints in a process that begins with the product."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=clean_environment(PYTHONPATH=str(REPOSITORY))
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_names_are_those_of_the_locked_libraries() -> None:
    """No module is run by the product's import, and each has every name that stands in for it."""
    told = json.loads(said(NAMES))
    installed = {name for name in postponed.POSTPONED if not name.startswith("rich") or "rich" in told["waiting"]}
    assert set(told["waiting"]) == installed
    assert told["missing"] == []


def test_libraries_find_what_was_postponed() -> None:
    """Templates, entities, command lines, HTTP/2."""
    assert said(USES) == "é 2 &lt; Namespace() 3 False handle"
