"""A Firefox of the machine, driven over WebDriver BiDi, which it speaks itself: it looks, clicks and types."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect

PROGRAMS: Final = ("firefox-esr", "firefox")
# A busy machine starts it in half a minute (s).
PATIENCE: Final = 120.0
_LISTENING: Final = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
# Nothing is asked of its makers, and nothing is offered to a reader, while a page is tried.
_PREFERENCES: Final = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
# What the policy forbids is told as an event; the browser's own log is not the page's.
_TELL_VIOLATIONS: Final = """() => addEventListener("securitypolicyviolation", (event) =>
  console.error("policy:", event.violatedDirective, event.blockedURI))"""


class BidiError(Exception):
    """What the browser answered when it did not do as it was told."""


@dataclass(eq=False)
class Firefox:
    """One tab, what it asked for and what it complained of."""

    socket: ClientConnection
    tab: str = ""
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def begin(self) -> None:
        """Begin a session, with a tab that is listened to."""
        await self.tell("session.new", capabilities={})
        await self.tell("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        await self.tell("script.addPreloadScript", functionDeclaration=_TELL_VIOLATIONS)
        self.tab = (await self.tell("browsingContext.getTree"))["contexts"][0]["context"]

    async def listen(self) -> None:
        """Hand on answers, and note events, until the socket is closed."""
        async for text in self.socket:
            message = json.loads(text)
            waiting = self._waiting.pop(message.get("id"), None)
            if waiting is None:
                self._note(message)
            elif message["type"] == "error":
                waiting.set_exception(BidiError(f"{message['error']}: {message['message']}"))
            else:
                waiting.set_result(message["result"])

    async def goto(self, url: str) -> None:
        """Open an address."""
        await self.tell("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    async def find(self, locator: dict[str, Any]) -> dict[str, Any]:
        """Wait for the first element that is located so."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := await self._located(locator)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"no {locator['value']} in: {await self.text('document.body')}") from None
        return found[0]

    async def click(self, locator: dict[str, Any]) -> None:
        """Click in the middle of an element."""
        element = await self.find(locator)
        await self._call("(element) => element.scrollIntoView({ block: 'center' })", element)
        middle = {"type": "pointerMove", "x": 0, "y": 0, "origin": {"type": "element", "element": element}}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        source = {"type": "pointer", "id": "mouse", "actions": [middle, *press]}
        await self.tell("input.performActions", context=self.tab, actions=[source])

    async def type(self, text: str) -> None:
        """Type where the focus is."""
        strokes = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": strokes}
        await self.tell("input.performActions", context=self.tab, actions=[source])

    async def text(self, expression: str) -> str:
        """What a reader sees of an element, which an expression names; empty where there is none."""
        answer = await self._call(f"() => ({expression})?.innerText ?? ''")
        value: str = answer["value"]
        return value

    async def reads(self, expression: str, pattern: str) -> None:
        """Wait until an element's text has this."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not re.search(pattern, await self.text(expression)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{pattern} is not in: {await self.text('document.body')}") from None

    async def _located(self, locator: dict[str, Any]) -> list[dict[str, Any]]:
        nodes = (await self.tell("browsingContext.locateNodes", context=self.tab, locator=locator))["nodes"]
        return [{"type": "node", "sharedId": node["sharedId"]} for node in nodes]

    async def _call(self, function: str, *elements: dict[str, Any]) -> dict[str, Any]:
        answer = await self.tell(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"sharedId": element["sharedId"]} for element in elements],
            target={"context": self.tab},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        result: dict[str, Any] = answer["result"]
        return result

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "network.beforeRequestSent" and parameters["context"] == self.tab:
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "log.entryAdded":
            self.said.append(f"{parameters['level']}: {parameters['text']}")


def named(role: str, name: str) -> dict[str, Any]:
    """An element as assistive technology knows it: by its role and its name."""
    return {"type": "accessibility", "value": {"role": role, "name": name}}


def matching(selector: str) -> dict[str, Any]:
    """An element by a selector of CSS."""
    return {"type": "css", "value": selector}


@asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """A headless Firefox with a profile of its own, until the block ends; skips where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no Firefox here (looked for {', '.join(PROGRAMS)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _write_preferences(Path(folder))
        command = (program, "--headless", "--remote-debugging-port=0", "--no-remote", "--profile", folder)
        process = await asyncio.create_subprocess_exec(
            *command, "about:blank", stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True
        )
        try:
            async with asyncio.timeout(PATIENCE):
                address = await _address(process)
            async with connected(process, address) as browser:
                yield browser
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


@asynccontextmanager
async def connected(process: Process, address: str) -> AsyncIterator[Firefox]:
    """Speak with the browser, while what it prints is read and let go."""
    assert process.stderr is not None
    async with connect(f"{address}/session", max_size=None, proxy=None) as socket:
        browser = Firefox(socket)
        tasks = [asyncio.create_task(browser.listen()), asyncio.create_task(process.stderr.read())]
        try:
            await browser.begin()
            yield browser
            with suppress(BidiError):
                await browser.tell("browser.close")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _address(process: Process) -> str:
    """Wait until it says where it listens."""
    assert process.stderr is not None
    seen = b""
    while line := await process.stderr.readline():
        seen += line
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise AssertionError(f"Firefox ended: {seen.decode(errors='replace')[-2000:]}")


def _write_preferences(profile: Path) -> None:
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines), "utf-8")
