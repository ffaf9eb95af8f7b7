"""A fake that answers as a real server did: it finds the answer by what a request asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.fakes.http11 import Connection, Reply, Request, head_bytes
from tests.fakes.server import RecordingServer
from tests.servers.replies import Replies, kind_of, plain_kind

_CHUNKED = {"Transfer-Encoding": "chunked"}


@dataclass(kw_only=True, eq=False)
class ReplayedServer(RecordingServer):
    """The server of a file."""

    replies: Replies

    def counts(self, request: Request) -> bool:
        """Count what computes."""
        return request.method == "POST"

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer as the server did; a stream comes in two pieces, cut anywhere."""
        body: dict[str, Any] = json.loads(request.body) if request.body else {}
        kind = kind_of(request.method, request.path, body, self.replies.model)
        told = self.replies.told.get(kind) or self.replies.told.get(plain_kind(kind))
        if told is None:
            missing = json.dumps({"detail": f"nobody asked the real server for: {kind}"}).encode()
            await connection.send(Reply(418, "application/json", missing))
        elif not told.kind.startswith("text/event-stream"):
            await connection.send(Reply(told.status, told.kind, told.body))
        else:
            half = len(told.body) // 2
            head = head_bytes(told.status, {"Content-Type": told.kind, **_CHUNKED})
            await connection.send_chunk(told.body[:half], head=head)
            await connection.send_chunk(told.body[half:])
            await connection.end_chunks()
