"""Conversations for the streams that need one, made before anything is measured."""

import http.client
import json
from collections.abc import Sequence

from bench.pace import Pace
from bench.wire import HOST, Address

TIMEOUT = 20.0


def stream_requests(address: Address, paces: Sequence[Pace]) -> list[bytes]:
    """Return a request for each pace, where need be in a new conversation of its own."""
    ids = _opened(address, len(paces))
    return [address.stream_request(pace, own) for pace, own in zip(paces, ids, strict=True)]


def _opened(address: Address, count: int) -> list[str]:
    if address.family.opens is None:
        return [""] * count
    path, body = address.family.opens
    headers = {"Content-Type": "application/json", "X-API-Key": address.key}
    connection = http.client.HTTPConnection(HOST, address.port, timeout=TIMEOUT)
    ids = []
    for _ in range(count):
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.client.CREATED:
            raise SystemExit(f"{address.name}: POST {path} answered {answer.status} {said!r}")
        ids.append(str(json.loads(said)["id"]))
    connection.close()
    return ids
