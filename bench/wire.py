"""Requests as bytes, and the address they go to."""

import json
from dataclasses import dataclass

from bench.families import DEFAULT, FAMILIES, Family
from bench.pace import Pace

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where one target takes streamed and whole generations of a family, and which process it is."""

    name: str
    port: int
    stream_path: str
    whole_path: str
    key: str = ""
    pid: int = 0
    upstream: int = 0  # the port of what answers in the end
    family_name: str = DEFAULT
    key_header: str = "X-API-Key: "

    @property
    def family(self) -> Family:
        """How this address is asked, and how it answers."""
        return FAMILIES[self.family_name]

    def stream_request(self, pace: Pace, conversation: str = "") -> bytes:
        """Return a request for a stream in this pace, in a conversation where the family needs one."""
        return self._post(self.stream_path.format(conversation), pace.prompt(), stream=True)

    def asking(self, prompt: str) -> bytes:
        """Return a request for a stream with a prompt of any kind."""
        return self._post(self.stream_path, prompt, stream=True)

    def whole_request(self) -> bytes:
        """Return a request for an answer that is not streamed."""
        return self._post(self.whole_path, "Why is the sky blue?", stream=False)

    def _post(self, path: str, prompt: str, *, stream: bool) -> bytes:
        body = json.dumps(self.family.body(prompt, stream)).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}:{self.port}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "Accept: */*"]
        lines += [f"{self.key_header}{self.key}"] if self.key else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
