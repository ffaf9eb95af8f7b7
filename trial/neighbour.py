"""The other client: a short generation about twice a second, with a key of its own; every one must succeed."""

import http.client
import json
import threading
import time

from trial.ledger import Ids

EVERY = 0.5
PATIENCE = 10.0
WHOLE = ("/api/llm/generate", {"model": "trial", "prompt": "Why is the sky blue?"})
STREAM = ("/api/chat", {"model": "trial", "messages": [{"role": "user", "content": "Why?"}], "stream": True})


class Neighbour(threading.Thread):
    """Asks in turn for a whole answer and for a stream."""

    def __init__(self, port: int, key: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._key = key
        self._stopped = stop
        self.ids = Ids("neighbour")
        self.failures: list[str] = []
        self.slowest = 0.0

    def run(self) -> None:
        """Ask until told to stop."""
        turn = 0
        while not self._stopped.wait(EVERY):
            self.ask(streams=bool(turn % 2))
            turn += 1

    def ask(self, *, streams: bool) -> None:
        """Make one generation, and remember it if it fails."""
        name = self.ids.new()
        begun = time.monotonic()
        try:
            self._ask(name, *(STREAM if streams else WHOLE))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failures.append(f"{type(error).__name__} {error}")
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def _ask(self, name: str, path: str, body: dict[str, object]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            headers = {"Content-Type": "application/json", "X-API-Key": self._key, "X-Request-ID": name}
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.getheader("X-Request-ID") == name:
                self.ids.answered.add(name)
            last = answer.read().strip().splitlines()[-1:]
            if answer.status != 200 or not last or not json.loads(last[0]).get("done"):
                raise ValueError(f"{path} {answer.status} {last}")
        finally:
            connection.close()
