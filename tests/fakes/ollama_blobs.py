"""Blobs of the fake Ollama: an upload is read in pieces, counted and hashed, and held nowhere."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama_errors import error_for
from tests.fakes.ollama_modes import Script

DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})\Z")
PAUSE_EVERY = 2**20
# Go reads so much of a body that nobody wanted before it answers, and closes the connection if there is more.
DISCARDED = 256 * 1024


async def blob(
    script: Script, connection: Connection, request: Request, digest: str, arrived: Callable[[], None]
) -> None:
    """Answer HEAD or POST /api/blobs/:digest; `arrived` is called for each piece of an upload."""
    found = DIGEST.match(digest)
    name = f"sha256:{found[1]}" if found else ""
    if not found:
        early: Reply | None = error_for(request.path, 400, "invalid digest format")
    elif name in script.blobs:
        early = Reply(200)
    else:
        early = Reply(404) if request.method == "HEAD" else None
    if script.blob_early and request.method == "POST":
        await connection.send(Reply(200, headers={"Connection": "close"}))
    elif early is None:
        await connection.send(await _receive(script, connection, request.path, digest, arrived))
    else:
        await _answer_early(connection, early, request.method)


async def _answer_early(connection: Connection, reply: Reply, method: str) -> None:
    unwanted = 0
    while connection.unread and unwanted <= DISCARDED:
        unwanted += len(await connection.read_piece())
    if connection.unread:
        reply = replace(reply, headers={"Connection": "close"})
    await connection.send(reply, with_body=method != "HEAD")


async def _receive(
    script: Script, connection: Connection, path: str, digest: str, arrived: Callable[[], None]
) -> Reply:
    size, until_pause, digester = 0, PAUSE_EVERY, hashlib.sha256()
    if script.blob_delay:
        connection.narrow()
    while piece := await connection.read_piece():
        size += len(piece)
        script.blob_bytes += len(piece)
        arrived()
        if not script.blob_any_digest:
            digester.update(piece)
        until_pause -= len(piece)
        if until_pause <= 0 and script.blob_delay:
            until_pause += PAUSE_EVERY
            await asyncio.sleep(script.blob_delay)
    got = f"sha256:{digester.hexdigest()}"
    if got != digest and not script.blob_any_digest:
        return error_for(path, 400, f'digest mismatch, expected "{digest}", got "{got}"')
    script.blobs[digest.replace("-", ":")] = size
    return Reply(201)
